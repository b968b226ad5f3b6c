package config

import "argosy/internal/hclx"

// DefaultListener returns a listener in which nothing has been set but what has a default.
func DefaultListener() Listener {
	l := &loader{d: &hclx.Decoder{}, raw: &rawConfig{}}
	return l.listener(hclx.OrDefault[rawListener](nil))
}

// DefaultSNI returns an sni block in which nothing has been set.
func DefaultSNI() *SNI {
	l := &loader{d: &hclx.Decoder{}, raw: &rawConfig{}}
	return l.sni(hclx.OrDefault[rawSNI](nil))
}

// DefaultClient returns a client block in which nothing has been set, which is what holds where there is none.
func DefaultClient() Client {
	l := &loader{d: &hclx.Decoder{}, raw: &rawConfig{}}
	return l.client(hclx.OrDefault[rawClient](nil))
}
