package mounts

import "argosy/internal/hclx"

// Block has the keys of its kind.
//
//argosy:kind io.l5d.consul rawConsulNamer
//argosy:kind io.l5d.fs rawFSNamer
//argosy:kind io.l5d.rewrite rawRewriteNamer
//argosy:kind static rawStaticNamer
//argosy:kind nomad rawNomadNamer
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
	// Only instances that have all of these tags.
	Tags hclx.Attr `hcl:"tags,optional" type:"list of strings"`
	// Only instances for which Consul finds this expression true, such as `"Service.Meta.version == v2"` or `"canary not in Service.Tags"`.
	Filter hclx.Attr `hcl:"filter,optional" type:"string"`
	// The service's service-resolver in Consul applies: its default subset, redirect and failover.
	Resolver hclx.Attr `hcl:"resolver,optional" type:"boolean" default:"false"`
	// Only instances whose health checks pass, or have one of `health_statuses`.
	UseHealth hclx.Attr `hcl:"use_health_check,optional" type:"boolean" default:"true"`
	// The statuses of instances that are used: `passing`, `warning`, `critical`, `maintenance`. Only `passing` unless set.
	Statuses hclx.Attr `hcl:"health_statuses,optional" type:"list of strings"`
	// `true`: the Connect-capable endpoints of the service, native ones or its sidecar proxies; `"prefer"`: those while there are any, else the service's own instances.
	Connect hclx.Attr `hcl:"connect,optional" type:"boolean or prefer" default:"false"`
	// The address the service registered, before that of its node.
	PreferService hclx.Attr `hcl:"prefer_service_address,optional" type:"boolean" default:"true"`
	// Address and port by this key of the tagged addresses of services and nodes, such as `wan`; instances without it are left out.
	TaggedAddress hclx.Attr `hcl:"tagged_address,optional" type:"string"`
	// Weights by tag, `{ large = 3, small = 0.5 }`: the heaviest tag of an instance counts, times the weight it is registered with.
	Weights hclx.Attr `hcl:"weights,optional" type:"map of numbers"`
	// Service meta and node meta go with the endpoints, as `meta.KEY` and `node_meta.KEY`.
	Metadata hclx.Attr `hcl:"transfer_metadata,optional" type:"boolean" default:"false"`
	// Endpoints carry the host name `[tag.]service.service.datacenter.DOMAIN` as `authority`.
	SetHost hclx.Attr `hcl:"set_host,optional" type:"boolean" default:"false"`
	// The domain of Consul's DNS, for `set_host`.
	Domain hclx.Attr `hcl:"domain,optional" type:"string" default:"consul"`
	// How fresh answers have to be: `default`, `stale` or `consistent`, as Consul defines them.
	Consistency hclx.Attr `hcl:"consistency_mode,optional" type:"string" default:"default"`
	// The Consul agent answers from its cache, which is stale while it is cut off from its servers.
	Cached hclx.Attr `hcl:"cached,optional" type:"boolean" default:"false"`
	// A node's name, or `_agent` for the node of the Consul agent: only the instances nearest to it are used, by Consul's network coordinates.
	Near hclx.Attr `hcl:"near,optional" type:"string"`
	// How many instances `near` uses.
	NearCount hclx.Attr `hcl:"near_count,optional" type:"number" default:"3"`
	// How long the last good set of instances is kept when suddenly none passes its checks.
	HoldEmpty hclx.Attr `hcl:"hold_empty,optional" type:"duration" default:"15s"`
	// When more than this share of the instances, and at least two, are gone from one answer to the next without others in their place, they are kept for `guard_hold`.
	GuardShare hclx.Attr `hcl:"guard_share,optional" type:"number" default:"0.5"`
	// How long instances are kept that went all at once; 0 switches this off.
	GuardHold hclx.Attr `hcl:"guard_hold,optional" type:"duration" default:"15s"`
	// How long the last good set is used while Consul cannot be asked; 0: for as long as it takes.
	MaxStale hclx.Attr `hcl:"max_stale,optional" type:"duration" default:"0s"`
	// A folder that keeps the last good sets over a restart. It is made if need be; nobody else may write to it.
	SnapshotDir hclx.Attr `hcl:"snapshot_dir,optional" type:"folder"`

	// Another Consul than the one that the configuration's own block `consul` reaches.
	Consul *hclx.ConsulBlock `hcl:"consul,block"`
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
	// Service names, each with its endpoints: `{ redis = ["127.0.0.1:6379", "127.0.0.1:6380 * 2"] }`. An absolute path is a
	// Unix socket. Required.
	Services hclx.Attr `hcl:"services,optional" type:"map of lists of strings" required:"true"`
}

// rawNomadNamer finds the instances that jobs have registered in Nomad's own service discovery
// (`service { provider = "nomad" }`), for names `/<namespace>/<service>`. Nomad's list does not tell whether checks pass.
type rawNomadNamer struct {
	// Where names of this namer start.
	Prefix hclx.Attr `hcl:"prefix,optional" type:"path" default:"/#/nomad"`
	// Names have the form `/<namespace>/<tag>/<service>`.
	IncludeTag hclx.Attr `hcl:"include_tag,optional" type:"boolean" default:"false"`
	// Only instances that satisfy this expression, which Nomad evaluates: `Datacenter == "dc1" and "canary" not in Tags`.
	Filter hclx.Attr `hcl:"filter,optional" type:"string"`
	// How long the last good set of instances is kept when Nomad is back after trouble and knows none.
	HoldEmpty hclx.Attr `hcl:"hold_empty,optional" type:"duration" default:"15s"`
	// How to reach Nomad.
	Nomad *hclx.NomadBlock `hcl:"nomad,block"`
}
