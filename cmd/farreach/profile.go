package main

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/internal/secret"
)

// access is what a client command needs to be let in, beyond the profile.
type access struct {
	tokenFile string
	caFile    string
	insecure  bool
	timeout   time.Duration

	account  string // with its password, in the place of a token; "": none
	password secret.String
}

// flags adds the flags of access to a client command.
func (x *access) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&x.tokenFile, "token-file", "", "`file` with an API token (default that of the profile; or FARREACH_TOKEN)")
	x.trustFlags(cmd)
	cmd.Flags().DurationVar(&x.timeout, "timeout", 10*time.Second, "how long to wait for an answer")
}

// trustFlags adds the flags that say whom to believe.
func (x *access) trustFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&x.caFile, "ca-file", "", "`file` with the certificates to trust (default that of the profile, or the system's)")
	cmd.Flags().BoolVar(&x.insecure, "insecure", false, "believe any certificate: whoever is on the way can read and change everything")
}

// token is the API token: of the environment, else of the flag, else of the
// profile; empty if there is none.
func (a *app) token(x access, s *settings.Server) (secret.String, error) {
	if text, ok := a.lookup("FARREACH_TOKEN"); ok && text != "" {
		return secret.String(text), nil
	}
	file := x.tokenFile
	if file == "" {
		file = s.TokenFile
	}
	if file == "" {
		return "", nil
	}
	text, err := settings.ReadSecret(file)
	if err != nil {
		return "", fail(exitConfig, "another --profile or --token-file", "token: %w", err)
	}
	return secret.String(text), nil
}

// accountOf is the account that the token is of: that of the profile, unless
// the profile has a token and another one is used, which says it itself.
func (a *app) accountOf(x access, s *settings.Server) string {
	text, _ := a.lookup("FARREACH_TOKEN")
	if s.TokenFile != "" && (text != "" || x.tokenFile != "" && x.tokenFile != s.TokenFile) {
		return ""
	}
	return s.Account
}

// tls is whom a client believes.
func (a *app) tls(x access, s *settings.Server) (*tls.Config, error) {
	if x.insecure {
		if !a.warned {
			a.say("farreach: warning: --insecure: nobody checks whom this connection is with")
		}
		a.warned = true
		return &tls.Config{InsecureSkipVerify: true}, nil
	}
	file := x.caFile
	if file == "" {
		file = s.CAFile
	}
	if file == "" {
		return nil, nil
	}
	pool, err := localca.Pool(file)
	if err != nil {
		return nil, fail(exitConfig, "another --profile or --ca-file", "certificates to trust: %w", err)
	}
	return trusting(pool), nil
}

func trusting(pool *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// api is a client of the profile's server.
func (a *app) api(x access) (*apiclient.Client, error) {
	s, err := a.server()
	if err != nil {
		return nil, err
	}
	if s.API() == "" {
		return nil, fail(exitConfig, "another --profile", "profile %s has no http address", a.profile)
	}
	cfg := apiclient.Config{Base: s.API(), Timeout: x.timeout, Account: x.account, Password: x.password}
	if x.account == "" {
		if cfg.Token, err = a.token(x, s); err != nil {
			return nil, err
		}
	}
	if cfg.TLS, err = a.tls(x, s); err != nil {
		return nil, err
	}
	return apiclient.New(cfg), nil
}
