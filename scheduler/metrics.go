package scheduler

import (
	"github.com/prometheus/client_golang/prometheus"

	"argosy/scheduler/law"
)

// metrics are what the scheduler tells about itself. The label policy comes from configuration and job files.
type metrics struct {
	desired, current, value, target, age *prometheus.GaugeVec
	decisions                            *prometheus.CounterVec
	errors                               *prometheus.CounterVec
	policies, problems                   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "argosy_scheduler_" + name, Help: help}, []string{"policy"})
	}
	m := &metrics{
		desired: gauge("desired", "Count that the scheduler wants the target to have."),
		current: gauge("current", "Instances that run."),
		value:   gauge("metric_value", "Last value of the metric."),
		target:  gauge("target_value", "Load that one instance should carry."),
		age:     gauge("metric_age_seconds", "Age of the last value of the metric."),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_scheduler_decisions_total", Help: "Decisions by action and reason.",
		}, []string{"policy", "action", "reason"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_scheduler_scale_errors_total", Help: "Calls to change a count that have failed.",
		}, []string{"policy"}),
		policies: prometheus.NewGauge(prometheus.GaugeOpts{Name: "argosy_scheduler_policies", Help: "Policies in use."}),
		problems: prometheus.NewGauge(prometheus.GaugeOpts{Name: "argosy_scheduler_policy_problems", Help: "Policies that cannot be used."}),
	}
	for _, c := range []prometheus.Collector{m.desired, m.current, m.value, m.target, m.age, m.decisions, m.errors, m.policies, m.problems} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(policy string, d law.Decision) {
	m.decisions.WithLabelValues(policy, string(d.Action), string(d.Reason)).Inc()
	m.errors.WithLabelValues(policy).Add(0)
	m.target.WithLabelValues(policy).Set(d.Terms.TargetValue)
	if d.Reason != law.StatusUnknown {
		m.desired.WithLabelValues(policy).Set(float64(d.Want))
		m.current.WithLabelValues(policy).Set(float64(d.Running))
	}
	switch d.Reason {
	case law.NoData, law.QueryFailed, law.Ambiguous: // there is no value; the last one stays, and ages
	default:
		m.value.WithLabelValues(policy).Set(float64(d.Terms.Value))
		m.age.WithLabelValues(policy).Set(d.Terms.AgeSeconds)
	}
}

// forget takes a policy that is gone out of the metrics.
func (m *metrics) forget(policy string) {
	l := prometheus.Labels{"policy": policy}
	for _, v := range []*prometheus.GaugeVec{m.desired, m.current, m.value, m.target, m.age} {
		v.DeletePartialMatch(l)
	}
	m.decisions.DeletePartialMatch(l)
	m.errors.DeletePartialMatch(l)
}
