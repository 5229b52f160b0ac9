package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"purr/internal/flags"
	"purr/internal/testkit"
)

var update = flag.Bool("update", false, "write the options of the flag table into completions/")

// A completedOption is an option of the flag table with what the help prints
// about it.
type completedOption struct {
	flags.Option
	value string // the name of its value: FILE, TIME
	about string
}

// dashed returns the names as they are typed.
func (o completedOption) dashed() (out []string) {
	for _, name := range o.Names {
		if len(name) == 1 {
			out = append(out, "-"+name)
		} else {
			out = append(out, "--"+name)
		}
	}
	slices.Sort(out)
	return out
}

// completedOptions joins the flag table and the help, in which the names of an
// option stand in the first columns and the description behind them or in the
// next line.
func completedOptions(t *testing.T) (all []completedOption) {
	t.Helper()
	const column = 29
	_, topics, _ := strings.Cut(help, "\n# ")
	lines := strings.Split(topics, "\n")
	for _, option := range newCommandLine().Options() {
		o := completedOption{Option: option}
		for i, line := range lines {
			if !regexp.MustCompile(`^(  -|      --)`).MatchString(line) {
				continue
			}
			head := line[:min(column, len(line))]
			if len(line) <= column || line[column-1] != ' ' {
				head, line = line, lines[i+1]
			}
			names := regexp.MustCompile(`(--?[\w-]+)( [A-Z][^ ]*)?(?:,| |$)`).FindAllStringSubmatch(head, -1)
			at := slices.IndexFunc(names, func(m []string) bool { return slices.Contains(o.dashed(), m[1]) })
			if at < 0 {
				continue
			}
			o.value = strings.Trim(names[len(names)-1][2], " ,")
			about := strings.TrimSpace(line[min(column, len(line)):])
			for _, more := range lines[i+1:] {
				if !strings.HasPrefix(more, strings.Repeat(" ", column)) || strings.Contains(about, ";") {
					break
				}
				if more != line {
					about += " " + strings.TrimSpace(more)
				}
			}
			o.about, _, _ = strings.Cut(about, ";")
			// "-4, -6    IPv4 only, IPv6 only" describes each.
			if each := strings.Split(o.about, ", "); len(each) == len(names) && len(names) > len(o.Names) {
				o.about = each[at]
			}
			break
		}
		if o.about == "" || (o.value != "") != o.TakesValue {
			t.Errorf("%v: the help describes it as %q, with the value %q", o.dashed(), o.about, o.value)
		}
		all = append(all, o)
	}
	return all
}

// The values that have names, as the shells list them. Those of payloads follow
// from "purr --list-payloads".
const (
	payloadNames = "auto none"
	expectNames  = "any"
	tosNames     = "lowdelay throughput reliability critical inetcontrol netcontrol ef af11 af21 af31 af41 cs0 cs1 cs2 cs3 cs4 cs5 cs6 cs7"
)

// helpTopics returns the topics of "purr --help TOPIC".
func helpTopics() string {
	out := "all"
	for _, m := range regexp.MustCompile(`(?m)^# ([a-z]+)`).FindAllStringSubmatch(help, -1) {
		out += " " + m[1]
	}
	return out
}

// forBash returns the words of all options and, for those with a value, how it
// is completed.
func forBash(options []completedOption) string {
	var words []string
	arms := make(map[string][]string)
	for _, o := range options {
		words = append(words, o.dashed()...)
		if o.Names[0] == "help" {
			action := fmt.Sprintf(`[[ $cur == -* ]] || { COMPREPLY=($(compgen -W '%s' -- "$cur")); return; }`, helpTopics())
			arms[action] = []string{"--help"}
		}
		if o.TakesValue {
			action := "return"
			switch o.value {
			case "CMD":
				action = `COMPREPLY=($(compgen -c -- "$cur")); return`
			case "P", "E":
				first := map[string]string{"P": payloadNames, "E": expectNames}[o.value]
				action = fmt.Sprintf(`COMPREPLY=($(compgen -W "%s $(purr --list-payloads | cut -d ' ' -f 1)" -- "$cur")); return`, first)
			case "TOS":
				action = fmt.Sprintf(`COMPREPLY=($(compgen -W '%s' -- "$cur")); return`, tosNames)
			}
			arms[action] = append(arms[action], o.dashed()...)
		}
	}
	var actions []string
	for action := range arms {
		actions = append(actions, action)
	}
	slices.Sort(actions)
	out := fmt.Sprintf("\toptions='%s'\n\tcase $prev in\n", strings.Join(words, " "))
	for _, action := range actions {
		out += fmt.Sprintf("\t%s) %s ;;\n", strings.Join(arms[action], " | "), action)
	}
	return out + "\tesac\n"
}

// forZsh returns the specifications for _arguments.
func forZsh(options []completedOption) string {
	out := "\tlocal -a specs=(\n"
	for _, o := range options {
		about := strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`, "'", `'\''`).Replace(o.about)
		spec := "[" + about + "]"
		if o.TakesValue {
			spec += ":" + strings.NewReplacer("[", "", "]", "", ",", " ").Replace(strings.ToLower(o.value)) + ":"
			switch o.value {
			case "FILE", "PATH":
				spec += "_files"
			case "CMD":
				spec += "_command_names -e"
			case "P":
				spec += " _purr_payloads " + payloadNames
			case "E":
				spec += " _purr_payloads " + expectNames
			case "TOS":
				spec += "(" + tosNames + ")"
			case "PORT":
				spec += "_ports"
			}
		}
		for _, name := range o.dashed() {
			// _arguments takes one value attached to a letter and one behind "=".
			kind, spec := "", spec
			if o.TakesValue {
				kind = map[bool]string{true: "+", false: "="}[len(name) == 2]
			}
			exclude := "(" + strings.Join(o.dashed(), " ") + ")"
			if o.Names[0] == "verbose" {
				exclude = "*" // counts
			}
			if name == "--help" {
				spec += "::topic:(" + helpTopics() + ")"
			}
			out += fmt.Sprintf("\t\t'%s%s%s%s'\n", exclude, name, kind, spec)
		}
	}
	return out + "\t)\n"
}

// forFish returns a line for each option.
func forFish(options []completedOption) (out string) {
	out = "complete -c purr -n 'contains -- --help (commandline -opc)' -a \"" + helpTopics() + "\"\n"
	for _, o := range options {
		out += "complete -c purr"
		for _, name := range o.dashed() {
			if len(name) == 2 {
				out += " -s " + name[1:]
			} else {
				out += " -l " + name[2:]
			}
		}
		if o.TakesValue {
			out += " -x"
			switch o.value {
			case "FILE", "PATH":
				out = strings.TrimSuffix(out, "x") + "r -F"
			case "CMD":
				out += ` -a "(__fish_complete_command)"`
			case "P":
				out += ` -a "` + payloadNames + ` (__purr_payloads)"`
			case "E":
				out += ` -a "` + expectNames + ` (__purr_payloads)"`
			case "TOS":
				out += ` -a "` + tosNames + `"`
			}
		}
		out += " -d '" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(o.about) + "'\n"
	}
	return out
}

// The completions know the options of the flag table, with the words of the
// help. With -update they are written.
func TestCompletions(t *testing.T) {
	options := completedOptions(t)
	for name, part := range map[string]string{"purr.bash": forBash(options), "_purr": forZsh(options), "purr.fish": forFish(options)} {
		path := filepath.Join("completions", name)
		text := testkit.ReadFile(t, path)
		m := regexp.MustCompile(`(?ms)^([ \t]*# options: [^\n]*\n)(.*)^[ \t]*# end of options$`).FindStringSubmatchIndex(text)
		if m == nil {
			t.Errorf("%s: no place for the options", path)
			continue
		}
		want := text[:m[3]] + part + text[m[5]:]
		if text == want {
			continue
		}
		if *update {
			testkit.WriteFile(t, path, want)
			continue
		}
		t.Errorf("%s has other options than the flag table: say \"go test -run TestCompletions -update .\"", path)
	}
}

// bash and fish complete options, values, operands and commands. zsh needs a
// terminal: packaging/check has one.
func TestCompletionsInShells(t *testing.T) {
	t.Parallel()
	bash := testkit.Program(t, "bash", "bash")
	fish := testkit.Program(t, "fish", "fish")
	dir := t.TempDir()
	testkit.WriteFile(t, filepath.Join(dir, "file.img"), "")
	testkit.WriteFile(t, filepath.Join(dir, "purr"), "#!/bin/sh\nexec env "+runAsPurr+"=1 "+os.Args[0]+" \"$@\"\n")
	if err := os.Chmod(filepath.Join(dir, "purr"), 0o755); err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("completions")
	if err != nil {
		t.Fatal(err)
	}
	const inBash = `. "$0/purr.bash"
read -ra COMP_WORDS <<<"${1//=/ = }"
[[ $1 != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_purr
((${#COMPREPLY[@]})) || COMPREPLY=(*) # as "complete -o default" does
printf '%s\n' "${COMPREPLY[@]}"`
	const inFish = `source $argv[1]/purr.fish; complete -C $argv[2] | string replace -r '\t.*' ''; true`
	for _, test := range []struct{ line, want, not string }{
		{"purr --wait", "--wait-for", "--listen"},
		{"purr --list-pay", "--list-payloads", "--listen"},
		{"purr -l --recv-file ", "file.img", "--listen"},
		{"purr -zu --payload d", "dns", "ntp"},
		{"purr -zu --expect=a", "any", "auto"},
		{"purr -T low", "lowdelay", "ef"},
		{"purr --help pr", "progress", "push"},
		{"purr --push host 9000 f", "file.img", "--push"},
		{"purr -lU f", "file.img", "--push"},
	} {
		shells := map[string]*exec.Cmd{
			"bash": exec.Command(bash, "--norc", "-c", inBash, here, test.line),
			"fish": exec.Command(fish, "--no-config", "-c", inFish, here, test.line),
		}
		for name, c := range shells {
			c.Dir = dir
			c.Env = append(os.Environ(), "HOME="+dir, "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := c.CombinedOutput()
			if err != nil {
				t.Errorf("%s: %s: %v\n%s", name, test.line, err, out)
				continue
			}
			got := strings.Fields(strings.ReplaceAll(string(out), "--expect=", "")) // fish prints the whole word
			if !slices.Contains(got, test.want) || slices.Contains(got, test.not) {
				t.Errorf("%s: %s: %q, want %s and not %s", name, test.line, got, test.want, test.not)
			}
		}
	}
}
