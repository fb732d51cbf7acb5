// Apidump prints the exported API of a package, one line for each name, in the format of
// the files in Go's own api directory:
//
//	go run ./api/apidump ./chats
//
// The lines are sorted and contain neither bodies nor comments, so that two versions of a
// package differ only where their APIs do, parameter names included.
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
		_, _ = fmt.Fprintln(os.Stderr, "usage: apidump PACKAGE")
		os.Exit(2)
	}
	lines, err := dump(context.Background(), os.Args[1])
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "apidump:", err)
		os.Exit(1)
	}
	fmt.Println(strings.Join(lines, "\n"))
}

// dump returns the sorted lines of the package that pattern names.
func dump(ctx context.Context, pattern string) ([]string, error) {
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

// load imports the package from the export data that the compiler wrote.
func load(ctx context.Context, pattern string) (*types.Package, error) {
	var out, errOut bytes.Buffer
	//nolint:gosec // the pattern comes from the Makefile
	list := exec.CommandContext(ctx, "go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "--", pattern)
	list.Stdout, list.Stderr = &out, &errOut
	if err := list.Run(); err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, errOut.String())
	}
	files := map[string]string{}
	var last string // the package itself: go list prints dependencies first
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

// qualify returns the last element of another package's path, and "" for the package itself.
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
		w.structType(name, named, under)
	case *types.Interface:
		w.interfaceType(name, under)
	default:
		w.add("type %s %s", name, w.typ(under))
	}
	for method := range named.Methods() {
		if method.Exported() {
			w.add("method (%s) %s%s", w.typ(method.Signature().Recv().Type()), method.Name(), w.signature(method.Signature()))
		}
	}
}

// structType writes, of unexported fields, only what callers can observe: that there are
// some, and that values are not comparable.
func (w *writer) structType(name string, named types.Type, s *types.Struct) {
	var suffix string
	for field := range s.Fields() {
		if !field.Exported() {
			suffix = ", with unexported fields"
			continue
		}
		kind := "field"
		if field.Embedded() {
			kind = "embedded"
		}
		w.add("type %s struct, %s %s %s", name, kind, field.Name(), w.typ(field.Type()))
	}
	if !types.Comparable(named) {
		suffix += ", not comparable"
	}
	w.add("type %s struct%s", name, suffix)
}

func (w *writer) interfaceType(name string, i *types.Interface) {
	var suffix string
	for method := range i.Methods() {
		if !method.Exported() {
			suffix = ", sealed"
			continue
		}
		w.add("type %s interface, %s%s", name, method.Name(), w.signature(method.Signature()))
	}
	w.add("type %s interface%s", name, suffix)
}
