package config

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// edit gives content with what change has made of it. Everything else stays, with its comments; blank lines and
// indents may change.
func edit(content []byte, change func(root *yaml.Node) error) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return nil, fmt.Errorf("is not YAML: %w", err)
	}
	root := &doc
	if len(doc.Content) > 0 {
		root = doc.Content[0]
	}
	if err := change(root); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// SetEngine gives the content of a configuration file with another engine for its nth flow, from 0, and another
// takeover; "" takes that away.
func SetEngine(content []byte, n int, engine, takeover string) ([]byte, error) {
	return edit(content, func(root *yaml.Node) error {
		flows := valueOf(root, "flows")
		if flows == nil || flows.Kind != yaml.SequenceNode || n >= len(flows.Content) || flows.Content[n].Kind != yaml.MappingNode {
			return fmt.Errorf("has no flows[%d]", n) //nolint:err113 // it is shown, not compared
		}
		flow := flows.Content[n]
		setValue(flow, "engine", textNode(engine))
		if takeover == "" {
			setValue(flow, "takeover", nil)
		} else {
			setValue(flow, "takeover", textNode(takeover))
		}
		return nil
	})
}

// SetConnection gives the content of a configuration file with the connection of one cluster in the place of what it
// had: bootstrap_servers, tls and sasl. Files are named as c has them, and a password never stands in the result.
func SetConnection(content []byte, c Cluster) ([]byte, error) {
	return edit(content, func(at *yaml.Node) error {
		for _, key := range []string{"clusters", c.Alias} {
			if at = valueOf(at, key); at == nil {
				return fmt.Errorf("has no cluster %s", c.Alias) //nolint:err113 // it is shown, not compared
			}
		}
		setConnection(at, c)
		return nil
	})
}

func setConnection(at *yaml.Node, c Cluster) {
	if at.Kind != yaml.MappingNode {
		*at = yaml.Node{Kind: yaml.MappingNode, HeadComment: at.HeadComment, LineComment: at.LineComment}
	}
	at.Style = 0
	servers := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, s := range c.BootstrapServers {
		servers.Content = append(servers.Content, textNode(s))
	}
	setValue(at, "bootstrap_servers", servers)
	setValue(at, "tls", pairsNode([][2]string{{"ca_file", c.TLS.CAFile}, {"cert_file", c.TLS.CertFile}, {"key_file", c.TLS.KeyFile}}))
	tls := valueOf(at, "tls")
	tls.Content = append([]*yaml.Node{textNode("enabled"), {Kind: yaml.ScalarNode, Value: "true"}}, tls.Content...)
	setValue(at, "sasl", nil)
	if c.SASL.Mechanism != "" {
		setValue(at, "sasl", pairsNode([][2]string{{"mechanism", c.SASL.Mechanism}, {"username", c.SASL.Username}, {"password_file", c.SASL.PasswordFile}}))
	}
}

// pairsNode is a mapping without the keys that have no value.
func pairsNode(pairs [][2]string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, p := range pairs {
		if p[1] != "" {
			n.Content = append(n.Content, textNode(p[0]), textNode(p[1]))
		}
	}
	return n
}

func valueOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// setValue puts a value under a key; nil takes the key away.
func setValue(n *yaml.Node, key string, v *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch {
		case n.Content[i].Value != key:
		case v == nil:
			n.Content = append(n.Content[:i], n.Content[i+2:]...)
			return
		default:
			n.Content[i+1] = v
			return
		}
	}
	if v != nil {
		n.Content = append(n.Content, textNode(key), v)
	}
}
