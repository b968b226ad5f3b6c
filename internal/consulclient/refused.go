package consulclient

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"argosy/internal/consulacl"
)

// longestRefusal bounds what is read of a refusal, in bytes.
const longestRefusal = 1 << 10

// explain adds to a refusal what is to be done about it, so that whoever shows the error says it. It returns what was
// refused, or nothing.
func explain(path string, resp *http.Response) (why string) {
	if resp.StatusCode == http.StatusForbidden {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, longestRefusal))
		resp.Body.Close()
		why = consulacl.Explain(string(text), path)
		resp.Body = io.NopCloser(strings.NewReader(why))
		resp.ContentLength = int64(len(why))
		resp.Header.Del("Content-Length")
		return why
	}
	// Consul leaves out what may not be seen. That the rest is nothing is no accident where one service is asked for.
	one := strings.HasPrefix(path, "/v1/health/service/") || strings.HasPrefix(path, "/v1/health/connect/")
	if one && resp.StatusCode == http.StatusOK && resp.Header.Get("X-Consul-Results-Filtered-By-Acls") == "true" && resp.ContentLength >= 0 && resp.ContentLength <= 3 {
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(text))
		if err == nil && string(bytes.TrimSpace(text)) == "[]" {
			why = consulacl.Lacks("all instances are left out of the answer", consulacl.AllNodes(), consulacl.ReadService(nameIn(path)))
		}
	}
	return why
}

// pathOf is the path of a request without what stands before Consul's.
func pathOf(r *http.Request) string {
	if i := strings.Index(r.URL.Path, "/v1/"); i >= 0 {
		return r.URL.Path[i:]
	}
	return r.URL.Path
}

// nameIn is the last part of a path.
func nameIn(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// Kinds of requests, for metrics and the log.
const (
	kindAuthorize  = "authorize"
	kindCatalog    = "catalog"
	kindConfig     = "config"
	kindIntentions = "intentions"
	kindKV         = "kv"
	kindLeaf       = "leaf"
	kindOther      = "other"
	kindRegister   = "register"
	kindResolver   = "resolver"
	kindRoots      = "roots"
)

var allKinds = [...]string{kindAuthorize, kindCatalog, kindConfig, kindIntentions, kindKV, kindLeaf, kindOther, kindRegister,
	kindResolver, kindRoots}

// authorizePath is where Consul's agent says whether a service may connect.
const authorizePath = "/v1/agent/connect/authorize"

// kinds are by the beginnings of paths.
var kinds = [...]struct{ prefix, kind string }{
	{"/v1/agent/connect/ca/leaf/", kindLeaf},
	{"/v1/agent/connect/ca/roots", kindRoots},
	{authorizePath, kindAuthorize},
	{"/v1/connect/intentions", kindIntentions},
	{"/v1/health/", kindCatalog},
	{"/v1/catalog/", kindCatalog},
	{"/v1/discovery-chain/", kindResolver},
	{"/v1/kv/", kindKV},
	{"/v1/txn", kindKV},
	{"/v1/agent/service", kindRegister},
	{"/v1/agent/check", kindRegister},
	{"/v1/config/", kindConfig},
}

func kindOf(path string) string {
	for _, k := range kinds {
		if strings.HasPrefix(path, k.prefix) {
			return k.kind
		}
	}
	return kindOther
}
