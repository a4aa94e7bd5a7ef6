package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Times of a connection to a server elsewhere. One that is gone without a word
// is noticed after pingEvery and its patience; the next server of the cluster
// is tried at once, and all of them again after reconnectWait.
const (
	pingEvery     = 3 * time.Second
	pingsOpen     = 2
	connectTime   = 2 * time.Second
	reconnectWait = 200 * time.Millisecond
)

// remote returns how to connect to the servers at cfg.URL.
func (cfg *Config) remote() ([]nats.Option, error) {
	for one := range strings.SplitSeq(cfg.URL, ",") {
		if strings.Contains(one, "@") {
			return nil, errors.New("a password in an address can be read by everybody: use a file of credentials")
		}
	}
	opts := []nats.Option{
		nats.Timeout(connectTime),
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(pingsOpen),
		nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectWait, reconnectWait),
	}
	if cfg.CAFile != "" {
		opts = append(opts, nats.RootCAs(cfg.CAFile))
	}
	if cfg.Credentials == "" {
		return opts, nil
	}
	who, err := credentials(cfg.Credentials)
	return append(opts, who), err
}

// credentials reads who we are to the server: a .creds file of NATS, or one
// line with user:password, or with a token.
func credentials(file string) (nats.Option, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("credentials %s: %w", file, err)
	}
	if bytes.Contains(text, []byte("-----BEGIN NATS USER JWT-----")) {
		return nats.UserCredentialBytes(text), nil
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSpace(line)
	if line == "" {
		return nil, fmt.Errorf("credentials %s: empty", file)
	}
	if user, password, ok := strings.Cut(line, ":"); ok {
		return nats.UserInfo(user, password), nil
	}
	return nats.Token(line), nil
}
