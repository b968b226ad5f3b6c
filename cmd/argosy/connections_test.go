package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"argosy/agent"
)

// narrow fails for lines that do not fit a terminal of 120 columns.
func narrow(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 120 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestConnections(t *testing.T) {
	f := startFleet(t)
	at := "http://" + f.agent.AdminAddress()
	first, second := f.connect(t), f.connect(t)
	list := func(args ...string) []agent.ConnectionInfo {
		t.Helper()
		code, out, errs := call(t, "", append([]string{"connections", "-agent", at, "-json"}, args...)...)
		var all []agent.ConnectionInfo
		if err := json.Unmarshal([]byte(out), &all); err != nil || code != exitOK {
			t.Fatalf("exit %d, %v\n%s%s", code, err, out, errs)
		}
		return all
	}
	all := list()
	if len(all) != 2 || all[0].Client != first.LocalAddr().String() || all[1].Client != second.LocalAddr().String() {
		t.Fatalf("connections %+v", all)
	}
	code, out, errs := call(t, "", "connections", "-admin", at, "-listener", "redis")
	row := regexp.MustCompile(fmt.Sprintf(`(?m)^%d +\S+ +\S+ +redis +%s +/svc/redis +127\S+ +1 +1$`, all[0].ID, regexp.QuoteMeta(all[0].Client)))
	if code != exitOK || !strings.HasPrefix(out, "ID ") || !row.MatchString(out) {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	narrow(t, out)
	if code, out, errs := call(t, "", "connections", "-agent", at, "-limit", "1"); code != exitOK || strings.Count(out, "\n") != 2 || !strings.Contains(errs, "more than 1") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if got := list("-min-age", "1h"); len(got) != 0 {
		t.Errorf("old ones %+v", got)
	}

	if code, out, errs := call(t, "", "connections", "-agent", at, "-close", fmt.Sprint(all[0].ID)); code != exitOK || out != "1 connection closed\n" {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
	for until := time.Now().Add(20 * time.Second); len(list()) != 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the connection stays")
		}
	}
	if code, out, errs := call(t, "", "connections", "-agent", at, "-name", "/svc", "-close", "all", "-rate", "1000"); code != exitOK || out != "1 connection closed\n" {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"-agent " + at + " -close 1", exitFailed, "1 is none that is open"},
		{"-agent " + at + " -close all", exitFailed, "say which connections to close"},
		{"-agent " + at + " -client nobody", exitFailed, `client: "nobody" is no IP address`},
		{"-agent http://" + closedAddress(t), exitFailed, "cannot be reached"},
		{"-agent ftp://x", exitUsage, "is no URL"},
		{"-close x", exitUsage, "-close takes an id"},
		{"-close 1 -listener redis", exitUsage, "-close takes an id"},
		{"-rate 5", exitUsage, "-rate goes with -close all"},
		{"-limit none", exitUsage, "must be a number"},
		{"redis", exitUsage, `unexpected argument "redis"`},
	} {
		code, out, errs := call(t, "", append([]string{"connections"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit %d\n%s%s", c.args, code, out, errs)
		}
	}
}

// The widest row that there can be fits.
func TestConnectionRowFits(t *testing.T) {
	quiet := 119.0
	long := strings.Repeat("x", 200)
	info := agent.ConnectionInfo{
		ID: 9_999_999, Listener: long, Client: long, Peer: long, Name: long, Endpoint: long, Phase: "open", Age: 119, Quiet: &quiet, In: 999_000, Out: 999_000,
	}
	for _, peers := range []bool{false, true} {
		row := connectionRow(info, peers)
		if n := utf8.RuneCountInString(strings.Join(row, "  ")); n > 120 {
			t.Errorf("%d columns: %q", n, row)
		}
	}
	info.Denied, info.Peer = "denied: web to db: intention deny web", "web"
	if row := connectionRow(info, true); row[peerColumn] != "web" || !strings.HasPrefix(row[7], "(denied) ") {
		t.Errorf("denied: %q", row)
	}
	info.Peer = ""
	if row := connectionRow(info, true); row[peerColumn] != "-" {
		t.Errorf("without a certificate: %q", row)
	}
}

// A name that stands for nothing is said to be that, and the log says how to find out why.
func TestRoutesToNothing(t *testing.T) {
	var out strings.Builder
	c := &routesCommand{&meta{out: &out}}
	c.show(agent.RoutesInfo{Destinations: []agent.DestinationInfo{{Name: "/svc/none", Status: "ok"}}}, false, false)
	if !regexp.MustCompile(`(?m)^/svc/none +- +- +nothing +- +-$`).MatchString(out.String()) {
		t.Error(out.String())
	}
}

func TestRoutes(t *testing.T) {
	f := startFleet(t)
	at := "http://" + f.agent.AdminAddress()
	f.connect(t)
	code, out, errs := call(t, "", "routes", "-agent", at)
	if code != exitOK || !regexp.MustCompile(`(?m)^redis +127\S+ +/svc/redis +- +1$`).MatchString(out) ||
		!regexp.MustCompile(`(?m)^/svc/redis +/#/static/redis1 +100% +ok +1 +1$`).MatchString(out) {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	narrow(t, out)
	code, out, errs = call(t, "", "routes", "-agent", at, "-name", "/svc/redis", "-settings")
	if code != exitOK || strings.Contains(out, "LISTENER") || !strings.Contains(out, "/svc/redis by listener redis") ||
		!regexp.MustCompile(`(?m)^  connect_timeout +1s +default$`).MatchString(out) {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	narrow(t, out)
	if code, out, errs := call(t, "", "routes", "-agent", at, "-name", "/svc/none"); code != exitFailed || !strings.Contains(errs, "/svc/none") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	code, out, _ = call(t, "", "routes", "-agent", at, "-json")
	var info agent.RoutesInfo
	if err := json.Unmarshal([]byte(out), &info); err != nil || code != exitOK || len(info.Listeners) != 1 {
		t.Errorf("exit %d, %v\n%s", code, err, out)
	}
}
