package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/cli"

	"argosy/dtab"
	"argosy/internal/hclx"
	"argosy/internal/settings"
	"argosy/namerd/client"
	"argosy/namerd/store"
)

const defaultNamerd = "http://127.0.0.1:4180"

// dtabTimeout is for a whole dtab command.
const dtabTimeout = 30 * time.Second

// dtabCommands are the commands below dtab; dtabAliases the other names that namerctl has for them.
func dtabCommands(m *meta) map[string]cli.Command {
	return map[string]cli.Command{
		"dtab":         &dtabCommand{m},
		"dtab list":    &dtabListCommand{m},
		"dtab get":     &dtabGetCommand{m},
		"dtab create":  &dtabCreateCommand{m},
		"dtab update":  &dtabUpdateCommand{m},
		"dtab delete":  &dtabDeleteCommand{m},
		"dtab explain": &dtabExplainCommand{m},
		"dtab plan":    &dtabPlanCommand{m},
		"dtab shift":   &dtabShiftCommand{m},
		"dtab ls":      &dtabListCommand{m},
		"dtab cat":     &dtabGetCommand{m},
		"dtab new":     &dtabCreateCommand{m},
		"dtab up":      &dtabUpdateCommand{m},
		"dtab del":     &dtabDeleteCommand{m},
		"dtab rm":      &dtabDeleteCommand{m},
	}
}

var dtabAliases = []string{"dtab ls", "dtab cat", "dtab new", "dtab up", "dtab del", "dtab rm"}

type dtabCommand struct{ *meta }

func (c *dtabCommand) Synopsis() string {
	return "Read, change, check, compare, explain and plan tables"
}

// Run is called where no command below dtab was named.
func (c *dtabCommand) Run(args []string) int {
	if len(args) > 0 {
		return c.usage("dtab has no command %q; argosy dtab -h lists them", args[0])
	}
	fmt.Fprintln(c.errs, c.Help())
	return exitUsage
}

func (c *dtabCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab <command> [options]

  Reads and changes the tables of a namerd: this project's, or Namerd 1.x.` + namerdOptions + `

Example:

    argosy dtab create default -dtab '/svc => /#/io.l5d.consul/dc1'
    argosy dtab get default > default.dtab
    argosy dtab edit default
    argosy dtab history default`)
}

const namerdOptions = `

  Where namerd is comes from -addr, else from the environment variables
  ARGOSY_NAMERD_ADDR and NAMERCTL_BASE_URL, else from the base-url in a file
  .namerctl.yaml, .json or .toml here or in a folder above, else it is
  ` + defaultNamerd + `.
  The variables ARGOSY_NAMERD_TOKEN, ARGOSY_NAMERD_TOKEN_FILE,
  ARGOSY_NAMERD_CACERT, ARGOSY_NAMERD_CLIENT_CERT and ARGOSY_NAMERD_CLIENT_KEY
  stand for the flags below; ARGOSY_NAMERD_FROM is who makes changes, for the
  history, and USER@host unless set.`

const namerdFlags = `
  -addr URL         The namerd to talk to; -base-url is the same.
  -config FILE      The .namerctl file to take it from.
  -token-file FILE  Send the bearer token that is in FILE.
  -ca-file FILE     CA certificates (PEM) to check namerd's certificate with.
  -cert-file FILE   Certificate (PEM) to show to namerd; with -key-file.
  -key-file FILE    Private key (PEM) of the certificate.
  -json             Print JSON.`

// writerFlags are those of commands that change tables.
const writerFlags = `
  -message TEXT     Why it is changed, for the history.` + namerdFlags

// namerdFlagSet are the flags of every dtab command that asks a namerd.
type namerdFlagSet struct {
	*flag.FlagSet
	addr, config, tokenFile   string
	caFile, certFile, keyFile string
	message                   string
	json                      bool
}

func (m *meta) namerdFlags(name string) *namerdFlagSet {
	f := &namerdFlagSet{FlagSet: m.flags(name)}
	f.StringVar(&f.addr, "addr", "", "")
	f.StringVar(&f.addr, "base-url", "", "") // namerctl's
	f.StringVar(&f.config, "config", "", "")
	f.StringVar(&f.tokenFile, "token-file", "", "")
	f.StringVar(&f.caFile, "ca-file", os.Getenv("ARGOSY_NAMERD_CACERT"), "")
	f.StringVar(&f.certFile, "cert-file", os.Getenv("ARGOSY_NAMERD_CLIENT_CERT"), "")
	f.StringVar(&f.keyFile, "key-file", os.Getenv("ARGOSY_NAMERD_CLIENT_KEY"), "")
	f.BoolVar(&f.json, "json", false, "")
	return f
}

// writerFlags are namerdFlags for a command that changes tables.
func (m *meta) writerFlags(name string) *namerdFlagSet {
	f := m.namerdFlags(name)
	f.StringVar(&f.message, "message", "", "")
	return f
}

// client makes the client that the flags and the environment name.
func (f *namerdFlagSet) client() (*client.Client, error) {
	addr := f.addr
	for _, variable := range []string{"ARGOSY_NAMERD_ADDR", "NAMERCTL_BASE_URL"} {
		if addr == "" {
			addr = os.Getenv(variable)
		}
	}
	if addr == "" {
		var err error
		if addr, err = namerctlURL(f.config); err != nil {
			return nil, err
		}
	}
	if addr == "" {
		addr = defaultNamerd
	}
	o := client.Options{TokenFile: f.tokenFile, CAFile: f.caFile, CertFile: f.certFile, KeyFile: f.keyFile, From: changer(), Message: f.message}
	if o.TokenFile == "" { // the flag goes before both
		o.Token = settings.NewSecret(os.Getenv("ARGOSY_NAMERD_TOKEN"))
		o.TokenFile = os.Getenv("ARGOSY_NAMERD_TOKEN_FILE")
	}
	return client.New(addr, o)
}

// changer is who makes changes, as far as the environment tells.
func changer() string {
	if from := os.Getenv("ARGOSY_NAMERD_FROM"); from != "" {
		return from
	}
	user, host := os.Getenv("USER"), "localhost"
	if name, err := os.Hostname(); err == nil {
		host = name
	}
	if user == "" {
		return ""
	}
	return user + "@" + host
}

// withNamerd runs one command against the namerd of the flags.
func (m *meta) withNamerd(f *namerdFlagSet, run func(context.Context, *client.Client) error) int {
	c, err := f.client()
	if err != nil {
		return m.usage("%s: %v", f.Name(), err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), dtabTimeout)
	defer cancel()
	if err := run(ctx, c); err != nil {
		return m.fail(withHint(err))
	}
	return exitOK
}

// withHint adds what to do next.
func withHint(err error) error {
	switch {
	case errors.Is(err, store.ErrExists):
		return fmt.Errorf("%w; argosy dtab update replaces it", err)
	case errors.Is(err, store.ErrVersion):
		return fmt.Errorf("%w; look with argosy dtab get, and update again", err)
	case errors.Is(err, store.ErrForgotten):
		return fmt.Errorf("%w; argosy dtab history shows those that are remembered", err)
	case errors.Is(err, store.ErrMissing):
		return fmt.Errorf("%w; argosy dtab list shows what there is", err)
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return fmt.Errorf("%w; -ca-file names the authority that has signed it", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w; -addr or ARGOSY_NAMERD_ADDR says where it is", err)
	case errors.Is(err, client.ErrUnauthorized):
		return fmt.Errorf("%w; -token-file, or -cert-file and -key-file", err)
	}
	return err
}

// input is a table that a user gives, with the version it was made from, if the text tells.
type input struct {
	table   dtab.Dtab
	version string // as the API shows it
}

// readTable takes the table from -dtab, or from the file argument; "-" is standard input. It complains about text that
// does not parse before anything is sent.
func (m *meta) readTable(text string, given bool, files []string) (input, error) {
	name := "-dtab"
	switch {
	case given && len(files) > 0:
		return input{}, errors.New("give a file or -dtab, not both")
	case given:
	case len(files) == 1 && files[0] == "-":
		b, err := io.ReadAll(m.in)
		if err != nil {
			return input{}, fmt.Errorf("read standard input: %w", err)
		}
		name, text = "standard input", string(b)
	case len(files) == 1:
		b, err := os.ReadFile(files[0])
		if err != nil {
			return input{}, err
		}
		name, text = files[0], string(b)
	default:
		return input{}, errors.New("the table is missing: name a file, - for standard input, or give -dtab '/svc => ...'")
	}
	if !given && strings.TrimSpace(text) == "" { // most likely what should have written it has failed
		return input{}, fmt.Errorf("%s is empty; -dtab '' makes the table empty", name)
	}
	in, err := parseTable(name, text)
	if err == nil && !in.table.WeightsKept() {
		fmt.Fprintln(m.errs, "argosy: warning: weights are stored with two decimals; some here have more")
	}
	return in, err
}

// parseTable takes the language itself, also as dtab get prints it with its version in the first line, and the JSON
// that dtab get -json and namerctl print, or only its array.
func parseTable(name, text string) (input, error) {
	trimmed := strings.TrimSpace(text)
	var in input
	switch {
	case strings.HasPrefix(trimmed, "{"):
		var object struct {
			Version string    `json:"version"`
			Dtab    dtab.Dtab `json:"dtab"`
		}
		if err := json.Unmarshal([]byte(trimmed), &object); err != nil {
			return in, fmt.Errorf("%s: %w", name, err)
		}
		if object.Dtab == nil {
			return in, fmt.Errorf(`%s: the JSON has no "dtab"`, name)
		}
		return input{object.Dtab, object.Version}, nil
	case strings.HasPrefix(trimmed, "["):
		if err := json.Unmarshal([]byte(trimmed), &in.table); err != nil {
			return in, fmt.Errorf("%s: %w", name, err)
		}
		return in, nil
	}
	var err error
	if in.table, err = hclx.ParseDtab(name, text); err != nil {
		return in, err
	}
	line, _, _ := strings.Cut(trimmed, "\n")
	if v, ok := strings.CutPrefix(line, "# version "); ok {
		in.version = strings.TrimSpace(v)
	}
	return in, nil
}
