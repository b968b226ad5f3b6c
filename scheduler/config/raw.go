package config

import "argosy/internal/hclx"

// rawConfig is what stands in the files. Its comments are the reference that operators read.
type rawConfig struct {
	// The name of this scheduler in logs.
	Name hclx.Attr `hcl:"name,optional" type:"string" default:"argosy-scheduler"`
	// The time between two evaluations of a policy.
	EvaluationInterval hclx.Attr `hcl:"evaluation_interval,optional" type:"duration" default:"2s"`

	// How to log. Changes of a count are logged at `info`, holds at `debug` and the first of a kind at `info` or `warn`.
	Log *hclx.LogBlock `hcl:"log,block"`
	// The HTTP endpoint for operators and Prometheus: `/metrics`, `/health`, `/v1/sd`, `/v1/policies`, `/v1/decisions` and `/v1/config`.
	HTTP *hclx.DoorBlock `hcl:"http,block"`
	// How to reach Nomad. Leave it out when nothing in Nomad is scaled.
	Nomad *rawNomad `hcl:"nomad,block"`
	// How to reach Consul, for `discovery`.
	Consul *hclx.ConsulBlock `hcl:"consul,block"`
	// Which agents `/v1/sd` lists, for builds of Prometheus that cannot ask Consul themselves.
	Discovery *rawDiscovery `hcl:"discovery,block"`
	// Where queries go.
	Prometheus *rawPrometheus `hcl:"prometheus,block"`
	// Reading the metrics of agents directly, without Prometheus.
	Scrape *rawScrape `hcl:"scrape,block"`
	// Policies that Nomad jobs carry themselves.
	Jobs *rawJobs `hcl:"jobs,block"`
	// A rule that scales one target by one metric. The label is its name in logs and metrics.
	Policies []rawPolicy `hcl:"policy,block"`
}

// rawNomad is how to reach Nomad. What is not set comes from Nomad's own environment variables (`NOMAD_ADDR`,
// `NOMAD_TOKEN`, `NOMAD_CACERT` and so on), and then from Nomad's defaults.
type rawNomad struct {
	// The base URL, or `unix:///path`, as in a task: `"unix://${env("NOMAD_SECRETS_DIR")}/api.sock"`. Nomad's default is
	// `http://127.0.0.1:4646`.
	Address hclx.Attr `hcl:"address,optional" type:"url"`
	// The ACL token. Keep it out of the file: `token = env("NOMAD_TOKEN")`. It is never printed. It needs `read-job`,
	// `read-job-scaling` and `scale-job`, and for `jobs` also `list-scaling-policies` and `read-scaling-policy`.
	Token hclx.Attr `hcl:"token,optional" type:"secret"`
	// A file that holds the ACL token. It is read again whenever it changes.
	TokenFile hclx.Attr `hcl:"token_file,optional" type:"file"`
	// The region of the jobs. The Nomad agent's own unless set.
	Region hclx.Attr `hcl:"region,optional" type:"string"`
	// The namespaces whose jobs may be scaled. `["default"]` unless set; the first is that of targets that name none.
	Namespaces hclx.Attr `hcl:"namespaces,optional" type:"list of strings"`
	// The CA certificates (PEM) that Nomad's HTTPS certificate is checked against.
	CAFile hclx.Attr `hcl:"ca_file,optional" type:"file"`
	// The client certificate (PEM) to show to Nomad; with `key_file`.
	CertFile hclx.Attr `hcl:"cert_file,optional" type:"file"`
	// The private key (PEM) of `cert_file`.
	KeyFile hclx.Attr `hcl:"key_file,optional" type:"file"`
}

// rawDiscovery makes the list at `/v1/sd`, in the form of Prometheus's `http_sd_configs`.
type rawDiscovery struct {
	// Consul services. Of each instance the address in its meta `admin` is listed, whatever its health: an agent that
	// is in trouble is one to watch. Required.
	Services hclx.Attr `hcl:"services,optional" type:"list of strings"`

	Range hclx.Range `hcl:",def_range"`
}

// rawPrometheus is a Prometheus, or what speaks its API.
type rawPrometheus struct {
	// The base URL. Required.
	Address hclx.Attr `hcl:"address,optional" type:"url"`
	// For the queries of one evaluation.
	Timeout hclx.Attr `hcl:"timeout,optional" type:"duration" default:"5s"`
	// A file that holds a bearer token to send. Read again for every query.
	TokenFile hclx.Attr `hcl:"token_file,optional" type:"file"`

	Range hclx.Range `hcl:",def_range"`
}

// rawScrape reads agents' metrics pages.
type rawScrape struct {
	// Agents' admin endpoints as `host:port`, or URLs of metrics pages.
	Targets hclx.Attr `hcl:"targets,optional" type:"list of strings"`
	// A file that lists more of them, one per line or as the JSON of Prometheus's `file_sd_configs`. Read again for
	// every round; it may be missing.
	TargetsFile hclx.Attr `hcl:"targets_file,optional" type:"file"`
	// The time between two rounds.
	Interval hclx.Attr `hcl:"interval,optional" type:"duration" default:"1s"`
}

// rawJobs follows the scaling blocks of Nomad jobs whose policy says `scheduler = "argosy"`. They have the keys of
// `policy`, except that min and max stand beside them.
type rawJobs struct {
	// Whether to follow them.
	Watch hclx.Attr `hcl:"watch,optional" type:"boolean" default:"true"`
	// The namespaces to look in. Those of the nomad block unless set.
	Namespaces hclx.Attr `hcl:"namespaces,optional" type:"list of strings"`

	Range hclx.Range `hcl:",def_range"`
}

// rawPolicy scales a target so that each instance carries the target value. The metric is the load of all instances
// together. When it is missing, stale, not a number or hard to believe, the count stays as it is.
type rawPolicy struct {
	Name string `hcl:"name,label"`
	// What is scaled: `target "nomad"` or `target "process"`. Required.
	Target []rawTarget `hcl:"target,block"`

	// PromQL with one series as its result. Series older than `max_age` do not count; let it demand `up == 1`, too, so
	// that what dead agents left behind does not count either:
	// `sum(argosy_connections_active and on (instance) up{job="argosy"} == 1)`
	Query hclx.Attr `hcl:"query,optional" type:"string"`
	// PromQL for the age in seconds of the oldest sample in `query`:
	// `max(time() - timestamp(argosy_connections_active))`. Required in effect with a Prometheus before 2.43, which
	// serves series of up to five minutes of age: without it the count then does not shrink.
	Age hclx.Attr `hcl:"age,optional" type:"string"`
	// PromQL that gives something other than 0 while agents are missing in `query`; the count then does not shrink:
	// `count(up{job="argosy"} == 0)`
	PartialIf hclx.Attr `hcl:"partial_if,optional" type:"string"`
	// Instead of `query`, a gauge that is summed over all agents. It is read directly where there is a `scrape` block,
	// else through Prometheus, with the safeguards above.
	Metric hclx.Attr `hcl:"metric,optional" type:"string"`
	// Labels that the summed series of `metric` must have.
	Match hclx.Attr `hcl:"match,optional" type:"map of strings"`

	// The load that one instance should carry. Required.
	TargetValue hclx.Attr `hcl:"target_value,optional" type:"number"`
	// The share of the target value that the load may be off without a change.
	Tolerance hclx.Attr `hcl:"tolerance,optional" type:"number" default:"0.1"`
	// The smallest count. With 0, something other than the instances has to measure the load that wakes them.
	Min hclx.Attr `hcl:"min,optional" type:"number" default:"1"`
	// The largest count. Required.
	Max hclx.Attr `hcl:"max,optional" type:"number"`
	// The time between two steps up.
	CooldownUp hclx.Attr `hcl:"cooldown_up,optional" type:"duration" default:"10s"`
	// The time between any step and the next one down.
	CooldownDown hclx.Attr `hcl:"cooldown_down,optional" type:"duration" default:"1m"`
	// The count shrinks only to what the highest load within this time asks for. `cooldown_down` unless set.
	DownWindow hclx.Attr `hcl:"down_window,optional" type:"duration"`
	// A metric older than this is stale. Three scrape intervals are a good value.
	MaxAge hclx.Attr `hcl:"max_age,optional" type:"duration" default:"30s"`
	// The largest step up. No limit unless set.
	StepUp hclx.Attr `hcl:"step_up,optional" type:"number"`
	// The largest step down. No limit unless set.
	StepDown hclx.Attr `hcl:"step_down,optional" type:"number"`

	Range hclx.Range `hcl:",def_range"`
}

// rawTarget has the keys of its kind.
type rawTarget struct {
	Kind string `hcl:"kind,label"`
	// `nomad`: the job.
	Job hclx.Attr `hcl:"job,optional" type:"string"`
	// `nomad`: the task group. The name of the job unless set.
	Group hclx.Attr `hcl:"group,optional" type:"string"`
	// `nomad`: the namespace of the job. The first of the nomad block unless set.
	Namespace hclx.Attr `hcl:"namespace,optional" type:"string"`
	// `process`: the name of the group of processes.
	Name hclx.Attr `hcl:"name,optional" type:"string"`

	Range hclx.Range `hcl:",def_range"`
}
