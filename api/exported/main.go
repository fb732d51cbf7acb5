// Command exported prints the exported API of a package, one line for each name, in the
// manner of the files in the api folder of Go itself:
//
//	go run ./api/exported ./chats
//
// The lines are sorted and hold neither bodies nor comments, so that what differs between
// two versions of a package is its API, down to the names of parameters.
package main

import (
	"bytes"
	"context"
	"fmt"
	"go/constant"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		_, _ = fmt.Fprintln(os.Stderr, "usage: exported PACKAGE")
		os.Exit(2)
	}
	lines, err := api(context.Background(), os.Args[1])
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "exported:", err)
		os.Exit(1)
	}
	fmt.Println(strings.Join(lines, "\n"))
}

// api is what a package exports.
func api(ctx context.Context, pattern string) ([]string, error) {
	pkg, err := load(ctx, pattern)
	if err != nil {
		return nil, err
	}
	w := writer{pkg: pkg}
	scope := pkg.Scope()
	for _, name := range scope.Names() {
		if obj := scope.Lookup(name); obj.Exported() {
			w.object(obj)
		}
	}
	slices.Sort(w.lines)
	return w.lines, nil
}

// load reads the package as the compiler sees it.
func load(ctx context.Context, pattern string) (*types.Package, error) {
	var out, failed bytes.Buffer
	//nolint:gosec // the pattern comes from the Makefile
	list := exec.CommandContext(ctx, "go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "--", pattern)
	list.Stdout, list.Stderr = &out, &failed
	if err := list.Run(); err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, failed.String())
	}
	files := map[string]string{}
	var last string // dependencies come first
	for line := range strings.Lines(out.String()) {
		name, file, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		files[name], last = file, name
	}
	open := func(name string) (io.ReadCloser, error) { return os.Open(files[name]) }
	return importer.ForCompiler(token.NewFileSet(), "gc", open).Import(last)
}

type writer struct {
	pkg   *types.Package
	lines []string
}

func (w *writer) add(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

// qualify names other packages by the last part of their path, and this one not at all.
func (w *writer) qualify(pkg *types.Package) string {
	if pkg == w.pkg {
		return ""
	}
	return path.Base(pkg.Path())
}

func (w *writer) typ(t types.Type) string { return types.TypeString(t, w.qualify) }

func (w *writer) object(obj types.Object) {
	switch obj := obj.(type) {
	case *types.Const:
		w.add("const %s %s = %s", obj.Name(), w.typ(obj.Type()), value(obj.Val()))
	case *types.Var:
		w.add("var %s %s", obj.Name(), w.typ(obj.Type()))
	case *types.Func:
		w.add("func %s%s", obj.Name(), w.signature(obj.Signature()))
	case *types.TypeName:
		w.typeName(obj)
	}
}

func value(v constant.Value) string {
	if v.Kind() == constant.Float {
		return v.String()
	}
	return v.ExactString()
}

func (w *writer) signature(s *types.Signature) string {
	return strings.TrimPrefix(w.typ(s), "func")
}

func (w *writer) typeName(obj *types.TypeName) {
	if obj.IsAlias() {
		w.add("type %s = %s", obj.Name(), w.typ(types.Unalias(obj.Type())))
		return
	}
	named, ok := obj.Type().(*types.Named)
	if !ok {
		return
	}
	name := w.typ(named) // with its type parameters
	switch under := named.Underlying().(type) {
	case *types.Struct:
		w.structure(name, named, under)
	case *types.Interface:
		w.contract(name, under)
	default:
		w.add("type %s %s", name, w.typ(under))
	}
	for method := range named.Methods() {
		if method.Exported() {
			w.add("method (%s) %s%s", w.typ(method.Signature().Recv().Type()), method.Name(), w.signature(method.Signature()))
		}
	}
}

// structure says of what is not exported only what a caller can notice: that it is there,
// and that values cannot be compared.
func (w *writer) structure(name string, named types.Type, s *types.Struct) {
	var remarks string
	for field := range s.Fields() {
		if !field.Exported() {
			remarks = ", with unexported fields"
			continue
		}
		kind := "field"
		if field.Embedded() {
			kind = "embedded"
		}
		w.add("type %s struct, %s %s %s", name, kind, field.Name(), w.typ(field.Type()))
	}
	if !types.Comparable(named) {
		remarks += ", not comparable"
	}
	w.add("type %s struct%s", name, remarks)
}

func (w *writer) contract(name string, i *types.Interface) {
	var remarks string
	for method := range i.Methods() {
		if !method.Exported() {
			remarks = ", sealed"
			continue
		}
		w.add("type %s interface, %s%s", name, method.Name(), w.signature(method.Signature()))
	}
	w.add("type %s interface%s", name, remarks)
}
