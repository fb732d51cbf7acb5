// Command filegraph fails if too many files of a package depend on each other:
//
//	filegraph DIR=LIMIT...
//
// A file depends on another one if it uses a package-level object or a method declared there.
// Files that depend on each other, directly or indirectly, can only be understood together. Test
// files are ignored.
package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	status := 0
	for _, arg := range os.Args[1:] {
		if err := check(arg); err != nil {
			fmt.Fprintln(os.Stderr, "filegraph:", err)
			status = 1
		}
	}
	os.Exit(status)
}

func check(arg string) error {
	dir, number, _ := strings.Cut(arg, "=")
	limit, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("%s: want DIR=LIMIT", arg)
	}
	uses, err := load(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	for _, set := range cycles(uses) {
		if len(set) > limit {
			err = errors.Join(err, fmt.Errorf("%s: %d files depend on each other, at most %d may: %s", dir, len(set), limit, strings.Join(set, " ")))
		}
	}
	return err
}

// graph maps each file to the files that it uses.
type graph map[string]map[string]bool

// load type-checks a package.
func load(dir string) (graph, error) {
	list, err := goList(dir, "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}")
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	for line := range strings.Lines(list) {
		path, export, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = export
	}
	names, err := goList(dir, "-f", `{{join .GoFiles "\n"}}`)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	var parsed []*ast.File
	for name := range strings.FieldsSeq(names) {
		file, err := parser.ParseFile(files, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, file)
	}
	config := types.Config{Importer: importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	pkg, err := config.Check(dir, files, parsed, info)
	if err != nil {
		return nil, err
	}
	uses := graph{}
	for id, object := range info.Uses {
		function, _ := object.(*types.Func)
		isMethod := function != nil && function.Signature().Recv() != nil
		if object.Pkg() != pkg || !isMethod && object.Parent() != pkg.Scope() {
			continue
		}
		from, to := base(files, id.Pos()), base(files, object.Pos())
		if uses[from] == nil {
			uses[from] = map[string]bool{}
		}
		uses[from][to] = true
	}
	return uses, nil
}

func base(files *token.FileSet, pos token.Pos) string {
	return filepath.Base(files.Position(pos).Filename)
}

func goList(dir string, args ...string) (string, error) {
	command := exec.CommandContext(context.Background(), "go", append([]string{"list"}, args...)...) //nolint:gosec // the arguments come from the Makefile
	command.Dir = dir
	out, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return string(out), err
}

// cycles returns the sets of files that depend on each other.
func cycles(uses graph) (sets [][]string) {
	reached := graph{}
	for file := range uses {
		reached[file] = map[string]bool{}
		uses.reach(file, reached[file])
	}
	done := map[string]bool{}
	for file := range uses {
		if done[file] {
			continue
		}
		set := []string{file}
		for other := range reached[file] {
			if other != file && reached[other][file] {
				set, done[other] = append(set, other), true
			}
		}
		slices.Sort(set)
		sets = append(sets, set)
	}
	return sets
}

// reach adds the files that a file uses, directly or indirectly, to reached.
func (g graph) reach(file string, reached map[string]bool) {
	for other := range g[file] {
		if !reached[other] {
			reached[other] = true
			g.reach(other, reached)
		}
	}
}
