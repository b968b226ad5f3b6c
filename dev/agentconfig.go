package dev

import (
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"argosy/dtab"
	"argosy/internal/devca"
)

// agentConfig writes the configuration that all agents of a proxy share; what differs comes from the environment.
func agentConfig(p Proxy, address, namerdURL, catalogDir string, files *devca.Files) []byte {
	f := hclwrite.NewEmptyFile()
	b := f.Body()
	b.SetAttributeValue("name", cty.StringVal(p.Name))
	b.AppendNewline()
	admin := b.AppendNewBlock("admin", nil).Body()
	admin.SetAttributeRaw("address", adminAddress())
	b.AppendNewline()
	table := b.AppendNewBlock("dtab", nil).Body()
	table.SetAttributeValue("namespace", cty.StringVal(Namespace))
	table.AppendNewBlock("namerd", nil).Body().SetAttributeValue("address", cty.StringVal(namerdURL))
	b.AppendNewline()
	namer := b.AppendNewBlock("namer", []string{"io.l5d.fs"}).Body()
	namer.SetAttributeValue("root_dir", cty.StringVal(catalogDir))
	b.AppendNewline()
	l := b.AppendNewBlock("listener", []string{p.Name}).Body()
	l.SetAttributeValue("address", cty.StringVal(address))
	l.SetAttributeValue("reuse_port", cty.True)
	l.SetAttributeValue("destination", cty.StringVal(p.Destination.String()))
	if files != nil {
		t := l.AppendNewBlock("tls", nil).Body()
		t.SetAttributeValue("cert_file", cty.StringVal(files.Cert))
		t.SetAttributeValue("key_file", cty.StringVal(files.Key))
		t.SetAttributeValue("client_ca_file", cty.StringVal(files.CA))
	}
	b.AppendNewline()
	drain := b.AppendNewBlock("drain", nil).Body()
	drain.SetAttributeValue("propagation", cty.StringVal("0s"))
	drain.SetAttributeValue("timeout", cty.StringVal(p.Drain.String()))
	return f.Bytes()
}

// adminAddress is "127.0.0.1:${env("ARGOSY_PORT_ADMIN")}".
func adminAddress() hclwrite.Tokens {
	return hclwrite.TokensForFunctionCall("format", hclwrite.TokensForValue(cty.StringVal("127.0.0.1:%s")),
		hclwrite.TokensForFunctionCall("env", hclwrite.TokensForValue(cty.StringVal("ARGOSY_PORT_ADMIN"))))
}

// namerdConfig writes namerd's configuration: a memory store with the table to begin with.
func namerdConfig(address string, table dtab.Dtab) []byte {
	f := hclwrite.NewEmptyFile()
	b := f.Body()
	b.AppendNewBlock("http", nil).Body().SetAttributeValue("address", cty.StringVal(address))
	b.AppendNewBlock("store", []string{"memory"}).Body().SetAttributeValue("namespaces", cty.ObjectVal(map[string]cty.Value{
		Namespace: cty.StringVal(table.String()),
	}))
	return f.Bytes()
}
