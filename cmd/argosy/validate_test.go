package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func inFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestValidate(t *testing.T) {
	const memory = "store \"memory\" {}\n"
	for _, test := range []struct {
		name, text string
		flags      []string
		code       int
		out, errs  string // FILE stands for the file
	}{
		{"good", memory, nil, 0, "valid namerd configuration (namerd; listens on 127.0.0.1:4180, namers: 0)\n", ""},
		{"good JSON", memory, []string{"-json"}, 0, "{\n  \"kind\": \"namerd\",\n  \"problems\": [],\n  \"valid\": true\n}\n", ""},
		{"one mistake", memory + "nmae = 1\n", nil, 2, "", "FILE:2:1: unknown key \"nmae\"\n  2 | nmae = 1\n    | ^^^^\n    = did you mean \"name\"?\n"},
		{"two mistakes", memory + "nmae = 1\nlgo {}\n", nil, 2, "",
			"FILE:2:1: unknown key \"nmae\"\n  2 | nmae = 1\n    | ^^^^\n    = did you mean \"name\"?\n" +
				"FILE:3:1: unknown block \"lgo\"\n  3 | lgo {}\n    | ^^^\n    = did you mean \"log\"?\n2 problems\n"},
		{"kind", memory, []string{"-kind", "agent"}, 2, "", "FILE: the dtab block is missing: where does the table come from?\n" +
			"  = add a dtab block; write in it one of: static = \"/svc => ...\", file = \"...\", consul {}, namerd {}; or interpreter \"namerd\" {}\n" +
			"FILE: there is no listener: an agent needs a place to accept connections\n  = add a block listener \"redis\" { ... } with an address and a destination\n" +
			"FILE:1:1: unknown block \"store\"\n  1 | store \"memory\" {}\n    | ^^^^^\n    = keys here: name; blocks here: access_log, admin, client, connect, consul, drain, dtab, handover, interpreter, listener, log, namer, register, relay\n3 problems\n"},
		{"no kind", "log {}\n", nil, 2, "", "argosy: validate: the blocks do not tell what this configures; say -kind agent, namerd or scheduler\n" + hintLine},
		{"no such kind", memory, []string{"-kind", "dev"}, 2, "", "argosy: validate: unknown kind \"dev\"; the kinds are agent, namerd and scheduler\n" + hintLine},
		{"syntax", "store \"memory\" {\n", nil, 2, "", "FILE:1:16: unclosed configuration block\n  1 | store \"memory\" {\n    |                ^\n" +
			"    = There is no closing brace for this block before the end of the file. This may be caused by incorrect brace nesting elsewhere in this file.\n"},
		{"no HCL", "not HCL\n", nil, 2, "", "FILE:1:8: invalid block definition\n  1 | not HCL\n    |        ^\n" +
			"    = A block definition must have block content delimited by \"{\" and \"}\", starting on the same line as the block header.\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := inFile(t, test.text)
			code, out, errs := call(t, "", append([]string{"validate", file}, test.flags...)...)
			errs = strings.ReplaceAll(errs, file, "FILE")
			if code != test.code || out != test.out || errs != test.errs {
				t.Errorf("exit %d\n%s%s\nwant exit %d\n%s%s", code, out, errs, test.code, test.out, test.errs)
			}
		})
	}
}

func TestValidateJSON(t *testing.T) {
	file := inFile(t, "store \"memory\" {}\nhttp {\n  address = 4180\n}\nconsul {\n  token = [\"s3cret\"]\n}\n")
	code, out, errs := call(t, "", "validate", "-json", file)
	var got struct {
		Valid    bool
		Kind     string
		Problems []struct {
			File, Message, Hint, Source string
			Line, Column                int
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 2 || errs != "" {
		t.Fatal(err, code, out, errs)
	}
	if got.Valid || got.Kind != "namerd" || len(got.Problems) != 2 || strings.Contains(out, "s3cret") {
		t.Fatal(out)
	}
	if p := got.Problems[0]; p.File != file || p.Line != 3 || p.Column != 13 || p.Message != `address must be a string "host:port"` ||
		p.Hint != `write "127.0.0.1:4180"` || p.Source != "  address = 4180" {
		t.Errorf("%+v", p)
	}
}

func TestValidateDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.hcl": "http {}\n", "b.hcl": "store \"memory\" {}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, errs := call(t, "", "validate", dir); code != 0 {
		t.Error(code, out, errs)
	}
	if code, _, errs := call(t, "", "validate", filepath.Join(dir, "c.hcl")); code != 2 || !strings.HasSuffix(errs, "c.hcl: cannot be read: no such file or directory\n") {
		t.Error(code, errs)
	}
}
