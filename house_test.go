package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// rungs are the libraries under internal/: each may import those of earlier
// rungs, and only the root imports all.
var rungs = [][]string{
	{"sys", "display", "flags", "personality", "digest", "filter", "qr"},
	{"eyeballs", "relpath", "rate", "fdio", "sock", "payload", "confine"},
	{"idle", "proc", "copier", "datagram", "tlsconn", "scan", "store", "offer", "progress"},
	{"lineedit", "broadcast", "tunnel", "child", "dump", "broker", "access", "proxyproto", "halfclose"},
	{"push", "sweep", "proxy"},
	{"web"},
}

// limits keep the code readable. Each that is not reached yet has the value of
// today, with its aim in a comment.
var limits = struct {
	rootFiles, rootLines     int // without tests
	fileLines, functionLines int // without tests
	methodFiles              int // with methods of one type, on one system
	wideComments             int // above 80 columns, with tests
	undocumented             int // libraries, and their exported declarations
}{
	rootFiles:     48,
	rootLines:     8500,
	fileLines:     500,
	functionLines: 70,
	methodFiles:   3,
	wideComments:  0, // aim: 0
	undocumented:  0, // aim: 0
}

// A sourceFile is one parsed file. Its directory is "." or internal/NAME.
type sourceFile struct {
	dir, name string
	test      bool
	text      []byte
	fset      *token.FileSet
	ast       *ast.File
}

func (f *sourceFile) path() string { return path.Join(f.dir, f.name) }

// line returns the number of the line that holds pos.
func (f *sourceFile) line(pos token.Pos) int { return f.fset.Position(pos).Line }

// imports returns the paths that a file imports, by the names that it uses for
// them.
func (f *sourceFile) imports() map[string]string {
	paths := make(map[string]string)
	for _, spec := range f.ast.Imports {
		imported := strings.Trim(spec.Path.Value, `"`)
		name := path.Base(imported)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		paths[name] = imported
	}
	return paths
}

// readHouse returns every Go file of the module, for whatever system it is.
func readHouse(t *testing.T) []*sourceFile {
	t.Helper()
	files, err := parseHouse()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// parseHouse parses the files of the module once for all tests, which only read
// them.
var parseHouse = sync.OnceValues(func() (files []*sourceFile, err error) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		return nil, err
	}
	libraries, err := filepath.Glob("internal/*/*.go")
	if err != nil || len(libraries) == 0 {
		return nil, fmt.Errorf("no libraries: %w", err)
	}
	for _, p := range append(paths, libraries...) {
		f := &sourceFile{dir: filepath.ToSlash(filepath.Dir(p)), name: filepath.Base(p), test: strings.HasSuffix(p, "_test.go"), fset: token.NewFileSet()}
		if f.text, err = os.ReadFile(p); err != nil {
			return nil, err
		}
		if f.ast, err = parser.ParseFile(f.fset, p, f.text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
})

// Libraries import downwards only, and neither the command line nor the words
// of the program: no urfave/cli but in flags, no logger, no stderr, no exit.
func TestLibrariesLookDownwards(t *testing.T) {
	t.Parallel()
	rung := map[string]int{"testkit": -1} // of tests
	for i, names := range rungs {
		for _, name := range names {
			rung[name] = i
		}
	}
	for _, f := range readHouse(t) {
		own, isLibrary := strings.CutPrefix(f.dir, "internal/")
		if !isLibrary {
			continue
		}
		height, known := rung[own]
		if !known {
			t.Errorf("%s: package %s has no place in rungs", f.path(), own)
		}
		imports := f.imports()
		for _, imported := range imports {
			other, isOurs := strings.CutPrefix(imported, "purr/internal/")
			other, _, _ = strings.Cut(other, "/")
			switch {
			case isOurs && f.test && (other == "testkit" || other == own):
			case isOurs && (other == "testkit" || rung[other] >= height):
				t.Errorf("%s: package %s is not below %s", f.path(), other, own)
			case strings.HasPrefix(imported, "github.com/urfave/cli") && own != "flags", imported == "log/slog", imported == "purr":
				t.Errorf("%s: a library imports %s", f.path(), imported)
			}
		}
		if f.test || own == "testkit" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			from, ok := selector.X.(*ast.Ident)
			if !ok {
				return true
			}
			name := selector.Sel.Name
			switch imports[from.Name] {
			case "os":
				ok = name != "Exit" && name != "Stderr"
			case "log": // net/http takes a *log.Logger
				ok = name == "New" || name == "Logger"
			}
			if !ok {
				t.Errorf("%s:%d: a library uses %s.%s", f.path(), f.line(n.Pos()), from.Name, name)
			}
			return true
		})
	}
}

// Files, functions and types are of a size that can be read.
func TestHouseIsReadable(t *testing.T) {
	t.Parallel()
	rootFiles, rootLines := 0, 0
	for _, f := range readHouse(t) {
		if f.test {
			continue
		}
		lines := bytes.Count(f.text, []byte("\n"))
		if f.dir == "." {
			rootFiles, rootLines = rootFiles+1, rootLines+lines
		}
		atMost(t, f.path()+": lines", lines, limits.fileLines)
		for _, decl := range f.ast.Decls {
			if function, ok := decl.(*ast.FuncDecl); ok {
				atMost(t, f.path()+": lines of "+function.Name.Name, f.line(function.End())-f.line(function.Pos())+1, limits.functionLines)
			}
		}
	}
	atMost(t, "files at the root", rootFiles, limits.rootFiles)
	atMost(t, "lines at the root", rootLines, limits.rootLines)
}

// No run pays for what its mode does not use: no map is filled and no regular
// expression compiled when the program starts.
func TestStartIsShort(t *testing.T) {
	t.Parallel()
	for _, f := range readHouse(t) {
		if f.test || f.dir == "internal/testkit" {
			continue
		}
		for _, decl := range f.ast.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.VAR {
				continue
			}
			ast.Inspect(group, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncLit:
					return false // called later
				case *ast.CompositeLit:
					if _, isMap := n.Type.(*ast.MapType); isMap {
						t.Errorf("%s:%d: a map of the package", f.path(), f.line(n.Pos()))
					}
				case *ast.SelectorExpr:
					if from, ok := n.X.(*ast.Ident); ok && from.Name == "regexp" && strings.HasPrefix(n.Sel.Name, "MustCompile") {
						t.Errorf("%s:%d: a regular expression of the package", f.path(), f.line(n.Pos()))
					}
				}
				return true
			})
		}
	}
}

// Time that passes is measured by the monotonic clock, which a time.Time from
// time.Now has and its Unix time does not: a clock that is set back or ahead
// must neither lengthen nor end a wait.
func TestClockIsMonotonic(t *testing.T) {
	t.Parallel()
	for _, f := range readHouse(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 0 {
				return true
			}
			outer, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !strings.HasPrefix(outer.Sel.Name, "Unix") {
				return true
			}
			if inner, ok := outer.X.(*ast.CallExpr); ok && types.ExprString(inner.Fun) == "time.Now" {
				t.Errorf("%s:%d: the wall clock: keep the time.Time and use time.Since", f.path(), f.line(n.Pos()))
			}
			return true
		})
	}
}

// The methods of a type are in few files. Systems count apart: on each of them
// one file of a group such as x_linux.go and x_other.go is compiled.
func TestMethodsAreTogether(t *testing.T) {
	t.Parallel()
	files := readHouse(t)
	most := make(map[string][]string) // the files with methods of a type, on the system that has most
	for _, system := range []string{"linux", "darwin", "windows", "freebsd", "openbsd"} {
		context := build.Default
		context.GOOS, context.CgoEnabled = system, false
		homes := make(map[string][]string)
		for _, f := range files {
			if compiled, err := context.MatchFile(f.dir, f.name); f.test || err != nil || !compiled {
				continue
			}
			for _, decl := range f.ast.Decls {
				function, ok := decl.(*ast.FuncDecl)
				if !ok || function.Recv == nil {
					continue
				}
				receiver := strings.TrimPrefix(f.dir+"."+typeName(function.Recv.List[0].Type), "..")
				if !slices.Contains(homes[receiver], f.name) {
					homes[receiver] = append(homes[receiver], f.name)
				}
				if len(homes[receiver]) > len(most[receiver]) {
					most[receiver] = homes[receiver]
				}
			}
		}
	}
	for receiver, names := range most {
		atMost(t, fmt.Sprintf("files with methods of %s: %v", receiver, names), len(names), limits.methodFiles)
	}
}

// typeName returns the name of a receiver's type, without pointer and type
// parameters.
func typeName(receiver ast.Expr) string {
	switch e := receiver.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return fmt.Sprintf("%T", receiver)
}

// Every library has a package comment and documents its exported declarations.
// Comments fit 80 columns.
func TestHouseIsDocumented(t *testing.T) {
	t.Parallel()
	packages := make(map[string]bool)
	var wide, undocumented []string
	for _, f := range readHouse(t) {
		if !f.test {
			packages[f.dir] = packages[f.dir] || f.ast.Doc != nil
		}
		for _, group := range f.ast.Comments {
			for _, comment := range group.List {
				if f.fset.Position(comment.Pos()).Column > 1 && !startsLine(f, comment) {
					continue // beside code, whose line may be longer
				}
				if !strings.HasPrefix(comment.Text, "//go:") && columns(f, comment) > 80 {
					wide = append(wide, fmt.Sprintf("%s:%d", f.path(), f.line(comment.Pos())))
				}
			}
		}
		if f.dir != "." && !f.test {
			undocumented = append(undocumented, undocumentedIn(f)...)
		}
	}
	for dir, documented := range packages {
		if !documented {
			undocumented = append(undocumented, dir+" itself")
		}
	}
	atMost(t, fmt.Sprintf("wide comments, such as %v", wide[:min(10, len(wide))]), len(wide), limits.wideComments)
	atMost(t, fmt.Sprintf("without a comment, such as %v", undocumented[:min(10, len(undocumented))]), len(undocumented), limits.undocumented)
}

// startsLine reports whether nothing but blanks is in front of a comment.
func startsLine(f *sourceFile, comment *ast.Comment) bool {
	at := f.fset.Position(comment.Pos())
	return len(bytes.TrimSpace(f.text[at.Offset-(at.Column-1):at.Offset])) == 0
}

// columns returns the width of a comment that starts its line; a tab counts as
// one column.
func columns(f *sourceFile, comment *ast.Comment) int {
	return f.fset.Position(comment.Pos()).Column - 1 + utf8.RuneCountInString(comment.Text)
}

// undocumentedIn returns the exported declarations of a file without a comment:
// functions, methods of exported types, types, and constants and variables. A
// comment on a group covers its constants and variables.
func undocumentedIn(f *sourceFile) (out []string) {
	add := func(name *ast.Ident) {
		out = append(out, fmt.Sprintf("%s:%d %s", f.path(), f.line(name.Pos()), name.Name))
	}
	for _, decl := range f.ast.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			method := d.Recv != nil && (!ast.IsExported(typeName(d.Recv.List[0].Type)) || slices.Contains([]string{"Error", "String", "Unwrap", "Is"}, d.Name.Name))
			if d.Name.IsExported() && d.Doc == nil && !method {
				add(d.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
						add(s.Name)
					}
				case *ast.ValueSpec:
					if s.Names[0].IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
						add(s.Names[0])
					}
				}
			}
		}
	}
	return out
}

// atMost fails the test if n is above limit.
func atMost(t *testing.T, what string, n, limit int) {
	t.Helper()
	if n > limit {
		t.Errorf("%s: %d, and at most %d are allowed", what, n, limit)
	}
}
