package mounts

import "argosy/internal/hclx"

// Block has the keys of its kind.
//
//argosy:kind io.l5d.consul rawConsulNamer
//argosy:kind io.l5d.fs rawFSNamer
//argosy:kind io.l5d.rewrite rawRewriteNamer
//argosy:kind static rawStaticNamer
type Block struct {
	Kind      string     `hcl:"kind,label"`
	KindRange hclx.Range `hcl:"kind,label_range"`
	Keys      hclx.Body  `hcl:",remain"`
}

// rawConsulNamer finds healthy instances in Consul's catalog, for names `/<datacenter>/<service>`; `.local` is the
// Consul agent's own datacenter.
type rawConsulNamer struct {
	// Where names of this namer start.
	Prefix hclx.Attr `hcl:"prefix,optional" type:"path" default:"/#/io.l5d.consul"`
	// Names have the form `/<datacenter>/<tag>/<service>`.
	IncludeTag hclx.Attr `hcl:"include_tag,optional" type:"boolean" default:"false"`
	// Only instances whose health checks pass.
	UseHealth hclx.Attr `hcl:"use_health_check,optional" type:"boolean" default:"true"`
	// The Connect-capable endpoints of the service: native ones, or its sidecar proxies.
	Connect hclx.Attr `hcl:"connect,optional" type:"boolean" default:"false"`
	// The address the service registered, before that of its node.
	PreferService hclx.Attr `hcl:"prefer_service_address,optional" type:"boolean" default:"true"`
	// How long the last good set of instances is kept when suddenly none passes its checks.
	HoldEmpty hclx.Attr `hcl:"hold_empty,optional" type:"duration" default:"15s"`
}

// rawFSNamer reads a folder: a name is a file in it, with a line `host port` or `host port * weight` for each
// endpoint. Changes of the files are followed.
type rawFSNamer struct {
	// Where names of this namer start.
	Prefix hclx.Attr `hcl:"prefix,optional" type:"path" default:"/#/io.l5d.fs"`
	// The folder. Required.
	RootDir hclx.Attr `hcl:"root_dir,optional" type:"folder" required:"true"`
}

// rawRewriteNamer makes another name of a name, which is then looked up in turn. What is behind the pattern is dropped.
type rawRewriteNamer struct {
	// Where names of this namer start.
	Prefix hclx.Attr `hcl:"prefix,optional" type:"path" default:"/#/io.l5d.rewrite"`
	// What names must start with: elements that are labels, `*` for any one, or texts with variables, such as
	// `/{service}/*/{host}:http`. Others are nothing. Required.
	Pattern hclx.Attr `hcl:"pattern,optional" type:"string" required:"true"`
	// The name that they become, with the variables of the pattern: `/svc/{service}`. Required.
	Name hclx.Attr `hcl:"name,optional" type:"string" required:"true"`
}

// rawStaticNamer has its endpoints written here.
type rawStaticNamer struct {
	// Where names of this namer start.
	Prefix hclx.Attr `hcl:"prefix,optional" type:"path" default:"/#/static"`
	// Service names, each with its endpoints: `{ redis = ["127.0.0.1:6379", "127.0.0.1:6380 * 2"] }`. Required.
	Services hclx.Attr `hcl:"services,optional" type:"map of lists of strings" required:"true"`
}
