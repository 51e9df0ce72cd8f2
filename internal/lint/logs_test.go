package lint

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// logKeys are all that a log line may have besides its message, so that whoever searches a log finds all there is: one thing has one name.
// Who needs another one adds it here.
var logKeys = []string{
	// What a line is about. With a partition comes its topic.
	"flow", "topic", "partition", "source_offset", "cluster", "broker",
	// Why.
	"err", "reason", "cause", "since", "after", "retry_in", "at_most", "at",
	// How much.
	"records", "bytes", "errors", "pieces", "slots", "of", "partitions", "new", "all", "target_offset", "lost_offsets", "twice_at_most", "offsets_lost_there",
	// Other topics and groups than those that are carried.
	"topics", "source", "group", "mm2_topic", "dead_letter_topic",
	// The process, its configuration and what people have it do.
	"version", "flows", "memory_budget", "page", "metrics", "actions", "key", "line", "fate", "text", "action", "remote", "what", "by", "kgo_level",
}

// numbers are the keys whose values are numbers, and no text that looks like one.
var numbers = []string{"partition", "source_offset", "records", "bytes", "errors"}

func TestLogKeys(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			first, ok := logCall(call)
			if !ok || call.Ellipsis != token.NoPos {
				return true
			}
			var keys []string
			for i := first; i < len(call.Args); i += 2 {
				lit, ok := call.Args[i].(*ast.BasicLit)
				if !ok || i+1 == len(call.Args) {
					t.Errorf("%s: a log line whose keys cannot be read", s.name)
					return true
				}
				key, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, key)
				if slices.Contains(numbers, key) && isText(call.Args[i+1]) {
					t.Errorf("%s: the value of %q is text: it should be a number", s.name, key)
				}
			}
			for _, key := range keys {
				used[key] = true
				if !slices.Contains(logKeys, key) {
					t.Errorf("%s: log key %q: is there another name for it? The list is in internal/lint", s.name, key)
				}
			}
			if slices.Contains(keys, "partition") && !slices.Contains(keys, "topic") {
				t.Errorf("%s: a log line tells the partition and not the topic", s.name)
			}
			return true
		})
	}
	for _, key := range logKeys {
		if !used[key] {
			t.Errorf("no log line has %q", key)
		}
	}
}

// logCall tells whether call is one of a logger, by name, and where its keys begin.
func logCall(call *ast.CallExpr) (first int, ok bool) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !isLogger(sel.X) {
		return 0, false
	}
	switch sel.Sel.Name {
	case "With":
		return 0, true
	case "Debug", "Info", "Warn", "Error":
		return 1, true
	case "Log":
		return 3, true
	}
	return 0, false
}

func isLogger(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name == "log"
	case *ast.SelectorExpr:
		return x.Sel.Name == "log" || x.Sel.Name == "Logger"
	case *ast.CallExpr: // of a logger with more
		_, ok := logCall(x)
		return ok
	}
	return false
}

func isText(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.BasicLit:
		return x.Kind == token.STRING
	case *ast.CallExpr:
		if sel, ok := x.Fun.(*ast.SelectorExpr); ok {
			pkg, _ := sel.X.(*ast.Ident)
			return sel.Sel.Name == "String" || pkg != nil && (pkg.Name == "fmt" || pkg.Name == "strconv")
		}
	}
	return false
}
