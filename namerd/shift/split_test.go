package shift

import (
	"strings"
	"testing"

	"argosy/dtab"
)

func mustDtab(t *testing.T, text string) dtab.Dtab {
	t.Helper()
	d, err := dtab.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSplit(t *testing.T) {
	t.Parallel()
	name, to := dtab.MustParsePath("/svc/redis"), dtab.MustParsePath("/svc/redis2")
	for _, c := range []struct{ table, at30, final, before string }{
		{ // an entry of its own is changed where it stands
			"/svc=>/c;/svc/redis=>/c/redis1;/x=>/y", "/svc=>/c;/svc/redis=>0.70*/c/redis1 & 0.30*/svc/redis2;/x=>/y",
			"/svc=>/c;/svc/redis=>/svc/redis2;/x=>/y", "",
		},
		{ // what a broader entry makes of it is written out
			"/c=>/#/consul/dc1;/svc=>/c;/x=>/y", "/c=>/#/consul/dc1;/svc=>/c;/svc/redis=>0.70*/c/redis & 0.30*/svc/redis2;/x=>/y",
			"/c=>/#/consul/dc1;/svc=>/c;/svc/redis=>/svc/redis2;/x=>/y", "",
		},
		{ // all that matches, in order of preference
			"/svc=>/a;/*/redis=>/b | ~", "/svc=>/a;/*/redis=>/b | ~;/svc/redis=>0.70*(/b | /a/redis) & 0.30*/svc/redis2",
			"/svc=>/a;/*/redis=>/b | ~;/svc/redis=>/svc/redis2", "",
		},
		{ // the own entry does not decide
			"/svc/redis=>/a;/svc=>/b", "/svc/redis=>/a;/svc=>/b;/svc/redis=>0.70*(/b/redis | /a) & 0.30*/svc/redis2",
			"/svc/redis=>/a;/svc=>/b;/svc/redis=>/svc/redis2", "",
		},
		{ // the last own entry
			"/svc/redis=>/a;/svc/redis=>/b | /c", "/svc/redis=>/a;/svc/redis=>0.70*(/b | /c) & 0.30*/svc/redis2",
			"/svc/redis=>/a;/svc/redis=>/svc/redis2", "",
		},
		{ // a union stays one branch
			"/svc/redis=>3*/a & 1*/b", "/svc/redis=>0.70*(3.00*/a & /b) & 0.30*/svc/redis2", "/svc/redis=>/svc/redis2", "",
		},
		{ // others decide
			"/svc=>/c;/svc/redis=>~", "/svc=>/c;/svc/redis=>0.70*/c/redis & 0.30*/svc/redis2", "/svc=>/c;/svc/redis=>/svc/redis2", "",
		},
		{ // on the way
			"/svc/redis=>0.90*/a & 0.10*/svc/redis2", "/svc/redis=>0.70*/a & 0.30*/svc/redis2", "/svc/redis=>/svc/redis2", "/svc/redis=>/a",
		},
		{ // on the way, in an entry that the shift has put in
			"/svc=>/c;/svc/redis=>0.90*/c/redis & 0.10*/svc/redis2", "/svc=>/c;/svc/redis=>0.70*/c/redis & 0.30*/svc/redis2",
			"/svc=>/c;/svc/redis=>/svc/redis2", "/svc=>/c",
		},
		{ // somebody's own weights
			"/svc/redis=>8*/a & 1*/svc/redis2 & 1*/b", "/svc/redis=>0.70*(8.00*/a & /b) & 0.30*/svc/redis2", "/svc/redis=>/svc/redis2", "",
		},
	} {
		s, err := Find(mustDtab(t, c.table), name, to)
		if err != nil {
			t.Errorf("%s: %v", c.table, err)
			continue
		}
		if c.before == "" {
			c.before = mustDtab(t, c.table).String()
		}
		if got := s.At(30); got.String() != c.at30 || !got.WeightsKept() {
			t.Errorf("%s\n  at 30 %% %s\n  want    %s", c.table, got, c.at30)
		}
		if got := s.At(100).String(); got != c.final {
			t.Errorf("%s\n  at the end %s\n  want       %s", c.table, got, c.final)
		}
		if got := s.Before().String(); got != c.before {
			t.Errorf("%s\n  before %s\n  want   %s", c.table, got, c.before)
		}
		// Whoever looks at the table half-way goes on from there, and back to the same.
		half, err := Find(mustDtab(t, s.At(30).String()), name, to)
		if err != nil || !half.Resumed || half.Percent != 30 || half.At(30).String() != c.at30 || half.At(100).String() != c.final {
			t.Errorf("%s: half-way %+v, %v", c.table, half, err)
		}
		// Other names are not touched: every other entry is there, in its order.
		if others := without(s.At(30), name); others.String() != without(mustDtab(t, c.table), name).String() {
			t.Errorf("%s: the others are now %s", c.table, others)
		}
		done, err := Find(s.At(100), name, to)
		if err != nil || !done.Done() {
			t.Errorf("%s: at the end %+v, %v", c.table, done, err)
		}
	}
}

func without(d dtab.Dtab, name dtab.Path) dtab.Dtab {
	var others dtab.Dtab
	for _, e := range d {
		if !isOwn(e.Prefix, name) || !e.Prefix.Matches(name) {
			others = append(others, e)
		}
	}
	return others
}

func TestSplitRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ table, name, to, says string }{
		{"/a=>/b", "/svc/redis", "/b", "no entry of the table matches /svc/redis"},
		{"/svc=>/b", "/svc/redis", "/svc/redis", "to itself"},
		{"/svc=>/b", "/svc/redis", "/svc/redis/v2", "lies below"},
		{"/svc=>/b", "/", "/b", "the root"},
		{"/svc/redis=>!", "/svc/redis", "/b", "stands for ! now"},
		{"/svc/redis=>~", "/svc/redis", "/b", "stands for ~ now"},
		{"/svc/redis=>$", "/svc/redis", "/b", "stands for $ now"},
		{"/svc/redis=>/a;/b=>/c | /svc/redis", "/svc/redis", "/b", "/b leads back to /svc/redis"},
		{"/svc/redis=>/a;/b=>/b/b", "/svc/redis", "/b", "leads on and on"},
		{"/svc=>/a;/svc/redis/x=>/z;/svc=>/b", "/svc/redis", "/b", "entry 2, /svc/redis/x, is for names below"},
	} {
		_, err := Find(mustDtab(t, c.table), dtab.MustParsePath(c.name), dtab.MustParsePath(c.to))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.table, err, c.says)
		}
	}
}
