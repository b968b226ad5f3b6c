package namer_test
import ("testing";"strings";"runtime";"runtime/debug";"time";"argosy/dtab";"argosy/internal/watch";"argosy/namer";"argosy/namerd/wire";"encoding/json")
func TestZZ(t *testing.T){
 debug.SetGCPercent(100)
 m:=5<<20
 deep:=strings.Repeat("/*",m/2)
 long:=strings.Repeat("/a",m/2)
 stair:=func() string { var b strings.Builder; for k:=0; b.Len()<m; k++ { b.WriteString(strings.Repeat("/*",k)+"/a=>/x;") }; return b.String() }()
 var wideroot strings.Builder; for wideroot.Len()<m { wideroot.WriteString("/=>/x;") }
 for about,c := range map[string][2]string{
  "deep prefix": {deep+"=>/x", long},
  "stair": {stair, long},
  "long path no match": {"/q=>/b", long},
  "long path loop": {"/a=>/a", long},
  "long dst loop": {"/a=>/a"+long, "/a"},
  "long path to inet": {"/a=>/$/inet/127.1/80", long},
  "long path to util": {"/a=>/$/io.buoyant.http.anyMethodPfx", long},
  "many root": {wideroot.String(), "/a"},
  "alt of many": {"/a=>"+strings.Repeat("/b|",m/3)+"~", "/a"},
  "alt of inet": {"/a=>"+strings.Repeat("/$/inet/1|",m/10)+"~", "/a"},
  "union of inet": {"/a=>"+strings.Repeat("/$/inet/1&",m/10)+"~", "/a"},
  "union of few inet with rest": {"/a=>"+strings.Repeat("/$/inet/1&",9000)+"~", "/a"+strings.Repeat("/b",100)},
  "union of neg": {"/a=>"+strings.Repeat("~&",m/2)+"~", "/a"},
  "one label": {"/a=>/b", "/"+strings.Repeat("a",m)},
  "host label": {"/a=>/$/io.buoyant.http.domainToPath", "/a/"+strings.Repeat("a.",m/2)},
  "host label2": {"/a=>/$/io.buoyant.hostportPfx/p", "/a/"+strings.Repeat(":a",m/2)},
  "nested": {"/a=>"+strings.Repeat(strings.Repeat("(/b|",900)+"~"+strings.Repeat(")",900)+"&",m/5000)+"~", "/a"},
 } {
  t.Run(strings.ReplaceAll(about," ","_"), func(t *testing.T){
  var ms0,ms runtime.MemStats
  runtime.GC(); runtime.ReadMemStats(&ms0)
  b0:=time.Now()
  d,err:=dtab.Parse(c[0]); if err!=nil {t.Fatalf("%.200v",err)}
  p,err:=dtab.ParsePath(c[1]); if err!=nil {t.Fatalf("%.200v",err)}
  parse:=time.Since(b0); b0=time.Now()
  in:=namer.NewInterpreter(namer.Options{Dtab:watch.Fixed(namer.TableState{Status:namer.OK,Dtab:d})}); defer in.Close()
  b,_:=in.Bind(t.Context(),p).Load()
  bind:=time.Since(b0); b0=time.Now()
  x,err:=in.Explain(t.Context(),p)
  ex:=time.Since(b0); b0=time.Now()
  n:=0
  if err==nil { body,e:=wire.Delegation(x); n=len(body); err=e }
  wi:=time.Since(b0); b0=time.Now()
  _=d.String(); json.Marshal(d); _=d.Simplified()
  rest:=time.Since(b0)
  runtime.ReadMemStats(&ms)
  t.Logf("parse %v bind %v (%v %.60v) explain %v (%.60v) wire %v %d, print etc %v; %d MB sys %d", parse,bind,b.Status,b.Err,ex,err,wi,n,rest,(ms.TotalAlloc-ms0.TotalAlloc)>>20, ms.Sys>>20)
  })
 }
}
