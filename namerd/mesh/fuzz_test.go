package mesh

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"argosy/dtab"
	"argosy/namerd/mesh/meshpb"
)

// Every table that can be written reads back from the wire, and Linkerd can read it.
func FuzzTable(f *testing.F) {
	f.Add(`/svc => /#/m; /*/x\x2fy/\x2a => 0*/a & 0.125*/b | ! | ~ | $; / => (/a | /b) & /c`)
	f.Add("/a => / & / | (! & (~ | $)) # nothing")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := dtab.Parse(text)
		if err != nil {
			return
		}
		b := encoded(t, toTable(table))
		var m meshpb.Dtab
		if err := proto.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if back, err := tableOf(&m); err != nil || !back.Equal(table) {
			t.Errorf("%s comes back as %s, %v", table, back, err)
		}
		readable, err := read(b, (*newShapes().readDtab)[1].of)
		if err != nil {
			t.Fatalf("Linkerd cannot read it: %v", err)
		}
		if _, err := showTable(readable); err != nil {
			t.Errorf("Linkerd refuses it: %v", err)
		}
	})
}

// Whatever a client sends is refused in a sentence, or is a request that means the same when it is sent again.
func FuzzRequest(f *testing.F) {
	for _, r := range []*meshpb.DelegateTreeReq{
		{Root: path("/default"), Tree: toTree(dtab.LeafOf(dtab.Path{"a"}))},
		{Root: path(`/a/\x00`), Tree: toTree(dtab.Tree[dtab.Path]{Kind: dtab.Union}), Dtab: toTable(dtab.Dtab{noEntry()})},
	} {
		b, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r meshpb.DelegateTreeReq
		if proto.Unmarshal(b, &r) != nil {
			return
		}
		refused := func(err error) bool {
			if s := status.Convert(err); err != nil && (s.Code() != codes.InvalidArgument && s.Code() != codes.NotFound || s.Message() == "") {
				t.Errorf("refused with %v", err)
			}
			return err != nil
		}
		_, err := namespace(r.GetRoot(), r.GetTree() != nil)
		refused(err)
		if tree, err := treeOf(r.GetTree()); !refused(err) {
			if again, err := treeOf(toTree(tree)); err != nil || !dtab.EqualTrees(tree, again, dtab.Path.Equal) {
				t.Errorf("%v is not %v, %v", tree, again, err)
			}
		}
		if table, err := tableOf(r.GetDtab()); !refused(err) {
			if again, err := tableOf(toTable(table)); err != nil || !table.Equal(again) {
				t.Errorf("%s is not %s, %v", table, again, err)
			}
		}
	})
}
