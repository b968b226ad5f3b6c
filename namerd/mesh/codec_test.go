package mesh

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"argosy/namerd/mesh/meshpb"
)

func showText(m message) (string, error) {
	if len(m["text"]) == 0 {
		return "absent", nil
	}
	return string(m["text"][0].([]byte)), nil
}

func TestCodec(t *testing.T) {
	r := newRig(t, "")
	l := dialLinkerd(t, r.address)
	is := func(method string, request proto.Message, s *shape, show func(message) (string, error), want string) {
		t.Helper()
		c := l.send("Codec/"+method, encoded(t, request))
		linkerdReads(t, c.message(), s, show, want)
		if code, text := c.status(); code != "0" {
			t.Errorf("status %s %s", code, text)
		}
	}
	shapes := newShapes()
	for text, want := range map[string]string{
		"":               "",
		" # nothing":     "",
		"/a => /b;":      "/a=>/b",
		"/* => ! | /b/c": "/*=>(! | /b/c)",
	} {
		is("ReadDtab", &meshpb.ReadDtabReq{Text: proto.String(text)}, shapes.readDtab, inside("dtab", showTable), want)
	}
	is("ReadDtab", &meshpb.ReadDtabReq{}, shapes.readDtab, inside("dtab", showTable), "")
	is("ReadPath", &meshpb.ReadPathReq{Text: proto.String(`/a/\x62\xff`)}, shapes.readPath, inside("path", func(m message) (string, error) { return showPath(m), nil }), `/a/\x62\xff`)
	is("ReadPath", &meshpb.ReadPathReq{}, shapes.readPath, inside("path", func(m message) (string, error) { return showPath(m), nil }), "/")
	is("ShowPath", &meshpb.ShowPathReq{Path: path(`/a/\x62\xff`)}, shapes.text, showText, `/a/\x62\xff`)
	is("ShowPath", &meshpb.ShowPathReq{Path: &meshpb.Path{}}, shapes.text, showText, `/`)
	is("ShowPath", &meshpb.ShowPathReq{}, shapes.text, showText, "absent")
	is("ShowDtab", &meshpb.ShowDtabReq{Dtab: toTable(parseTable(t, "/a => 0.125*/b & /c; /x => ~"))}, shapes.text, showText, "/a=>0.13*/b & /c;/x=>~")
	is("ShowDtab", &meshpb.ShowDtabReq{Dtab: &meshpb.Dtab{}}, shapes.text, showText, "") // on the wire, and empty
	is("ShowDtab", &meshpb.ShowDtabReq{}, shapes.text, showText, "absent")
}

func TestCodecErrors(t *testing.T) {
	r := newRig(t, "")
	c := meshpb.NewCodecClient(r.connect(t))
	_, readDtab := c.ReadDtab(t.Context(), &meshpb.ReadDtabReq{Text: proto.String("/foo =[ ]/bar")})
	_, readPath := c.ReadPath(t.Context(), &meshpb.ReadPathReq{Text: proto.String("invalid")})
	_, readNothing := c.ReadPath(t.Context(), &meshpb.ReadPathReq{Text: proto.String("")})
	_, showDtab := c.ShowDtab(t.Context(), &meshpb.ShowDtabReq{Dtab: &meshpb.Dtab{Dentries: []*meshpb.Dtab_Dentry{{}}}})
	_, showPath := c.ShowPath(t.Context(), &meshpb.ShowPathReq{Path: &meshpb.Path{Elems: [][]byte{{}}}})
	for _, test := range []struct {
		err  error
		text string
	}{
		{readDtab, "'>' expected but '[' found at '/foo =[[] ]/bar'"},
		{readPath, "'/' expected but 'i' found at '[i]nvalid'"},
		{readNothing, "'/' expected but end of input found at '[]'"},
		{showDtab, "illegal dentry 0: it needs a prefix and a destination"},
		{showPath, "illegal path: element 0 is empty"},
	} {
		if s := status.Convert(test.err); s.Code() != codes.InvalidArgument || s.Message() != test.text {
			t.Errorf("%v, not %s", test.err, test.text)
		}
	}
}
