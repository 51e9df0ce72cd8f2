// Package config reads and checks the configuration.
//
// A setting comes from, the last one wins: the default (a struct tag), the YAML
// file, the environment, an override (a flag). All layers become trees of text
// by key path, koanf puts them together, and the result is decoded by the types
// of the structs; so a text means the same wherever it came from.
//
// Inside the file ${NAME} is replaced by the environment variable NAME, after
// parsing. The variable of a key is KFERRY_ and its key path in upper case, with
// _ for every character that is not a letter or digit; a flow goes by its name.
// Such names are looked up among those of all keys that the file's clusters and
// flows have, never taken apart, so underscores and dashes do no harm.
//
// A file whose name ends in .properties is one for a dedicated MirrorMaker 2. It
// becomes the same tree of text by MirrorMaker 2's rules (mm2.go), and all that
// follows is the same; a note tells what became of each of its keys.
//
// Words: an alias is the key of a cluster; a key path names a place, as in
// clusters.aiven.sasl.mechanism or flows[0].topics[1]; a pattern is a topic name
// or a regular expression.
package config
