package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"argosy/internal/devca"
)

// certificatesMade tells that there are certificates now, and that the proxy has to be started with them.
type certificatesMade struct{ dir string }

func (c *certificatesMade) Error() string {
	return fmt.Sprintf("the certificates are in %s now, good for a day: start the proxy with them, and conform again", c.dir)
}

// makeCertificates writes certificates for the proxy and for the backend to a folder, which is made.
func makeCertificates(dir string) error {
	ca, err := devca.New(nil)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	for _, name := range []string{"target", "backend"} {
		if _, err := ca.Write(dir, name, name+".test", "127.0.0.1"); err != nil {
			return err
		}
	}
	return nil
}

// secure reads the certificates, and makes them when there are none.
func (o *options) secure() error {
	if !o.targetTLS && !o.backendTLS {
		return nil
	}
	if o.certs != "" {
		if _, err := os.Stat(filepath.Join(o.certs, "ca.pem")); errors.Is(err, os.ErrNotExist) {
			if err := makeCertificates(o.certs); err != nil {
				return err
			}
			return &certificatesMade{o.certs}
		}
	}
	if o.backendTLS {
		cert, err := tls.LoadX509KeyPair(filepath.Join(o.certs, "backend.pem"), filepath.Join(o.certs, "backend-key.pem"))
		if err != nil {
			return fmt.Errorf("certificate of the backend: %w", err)
		}
		o.config.BackendTLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	if !o.targetTLS {
		return nil
	}
	path := o.ca
	if path == "" {
		path = filepath.Join(o.certs, "ca.pem")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("CA certificates: %w", err)
	}
	o.config.TargetTLS = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: o.name}
	if !o.config.TargetTLS.RootCAs.AppendCertsFromPEM(text) {
		return fmt.Errorf("CA certificates: %s has none", path)
	}
	if o.clientCert != "" {
		cert, err := tls.LoadX509KeyPair(o.clientCert, o.clientKey)
		if err != nil {
			return fmt.Errorf("client certificate: %w", err)
		}
		o.config.TargetTLS.Certificates = []tls.Certificate{cert}
	}
	return nil
}
