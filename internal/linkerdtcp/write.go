package linkerdtcp

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"argosy/internal/settings"
)

// write prints the configuration, with what it lacks as comments at its head.
func (p *plan) write(file string, findings []Finding) string {
	f := hclwrite.NewEmptyFile()
	root := f.Body()
	comment(root, "argosy agent -config FILE; made of "+oneLine(file)+", a configuration of linkerd-tcp.")
	lost := false
	for _, x := range findings {
		if !x.Lost {
			continue
		}
		if !lost {
			comment(root, "")
			comment(root, "Not carried over:")
			lost = true
		}
		comment(root, fmt.Sprintf("  line %d, %s: %s", x.Line, oneLine(x.Key), oneLine(x.Message)))
	}
	root.AppendNewline()
	set(root, "name", p.name)

	if p.admin != nil {
		b := block(root, "admin")
		set(b, "address", p.admin.address)
		if !(&settings.Door{Network: "tcp", Address: p.admin.address}).Local() {
			comment(b, "linkerd-tcp let everybody do everything. With token_file or tls { client_ca_file = ... } in place of open, the rest is served, too.")
			b.SetAttributeValue("open", cty.ListVal([]cty.Value{cty.StringVal("/health"), cty.StringVal("/ready"), cty.StringVal("/metrics")}))
		}
	}
	i := block(root, "interpreter", "namerd")
	set(i, "address", p.interpreter.baseURL)
	set(i, "namespace", p.interpreter.namespace)
	comment(i, "Streams, so that a change applies at once; where these do not come through, polls.")
	set(i, "mode", "auto")
	set(i, "poll_interval", duration(time.Duration(p.interpreter.periodSecs)*time.Second))
	for _, l := range p.listeners {
		p.listener(root, l)
	}
	for _, c := range p.clients {
		b := block(root, "client", c.prefix.String())
		if c.timeoutMs >= 0 {
			set(b, "connect_timeout", duration(min(max(time.Duration(c.timeoutMs)*time.Millisecond, time.Millisecond), time.Hour)))
		}
		if c.tls != nil {
			t := block(b, "tls")
			set(t, "server_name", c.tls.dnsName)
			if c.tls.ca != "" {
				set(t, "ca_file", c.tls.ca)
			}
		}
	}
	if p.drain > 0 {
		set(block(root, "drain"), "timeout", duration(p.drain))
	}
	return string(hclwrite.Format(f.Bytes()))
}

func (p *plan) listener(root *hclwrite.Body, l listener) {
	b := block(root, "listener", l.name)
	set(b, "address", l.address)
	set(b, "destination", l.dst.String())
	if l.limit > 0 {
		b.SetAttributeValue("max_connections", cty.NumberIntVal(int64(l.limit)))
	}
	if l.timeout > 0 {
		set(b, "connect_timeout", duration(l.timeout))
	}
	if l.tls != nil {
		t := block(b, "tls")
		set(t, "cert_file", l.tls.cert)
		set(t, "key_file", l.tls.key)
	}
}

func block(in *hclwrite.Body, kind string, labels ...string) *hclwrite.Body {
	in.AppendNewline()
	return in.AppendNewBlock(kind, labels).Body()
}

func set(b *hclwrite.Body, key, text string) { b.SetAttributeValue(key, cty.StringVal(text)) }

func comment(b *hclwrite.Body, text string) {
	line := strings.TrimRight("# "+text, " ") + "\n"
	b.AppendUnstructuredTokens(hclwrite.Tokens{{Type: hclsyntax.TokenComment, Bytes: []byte(line)}})
}

// oneLine keeps what comes from outside inside its comment.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7F {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
}

// duration is a time as people write it: 90s, 500ms, 2m.
func duration(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d%time.Second == 0:
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return fmt.Sprintf("%dms", d/time.Millisecond)
}
