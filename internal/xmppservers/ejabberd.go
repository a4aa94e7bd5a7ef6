package xmppservers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const ejabberdConfig = `
hosts: ["$domain"]
loglevel: info
log_rotate_count: 0
certfiles: ["$dir/tls/server.pem"]
ca_file: "$dir/tls/ca.pem"
auth_method: [mnesia]
auth_password_format: scram
auth_scram_hash: $hash
max_fsm_queue: 100000
listen:
  - port: $port
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: $stanza
    starttls_required: true
    shaper: none
  - port: $tlsport
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: $stanza
    tls: true
    shaper: none
  - port: $wssport
    ip: "127.0.0.1"
    module: ejabberd_http
    tls: true
    request_handlers:
      /xmpp-websocket: ejabberd_http_ws
shaper_rules:
  max_user_sessions: infinity
modules:
  mod_caps: {}
  mod_carboncopy: {}
  mod_disco: {}
  mod_offline: {}
  mod_ping: {}
  mod_roster: {}
  mod_version: {}
`

const ejabberdResume = `
  mod_stream_mgmt:
    resend_on_timeout: false
    resume_timeout: $resume
    ack_timeout: 30
`

// ejabberd is run as erl runs it, without ejabberdctl: no other user, no name
// on the network, and with it no epmd, which would stay behind; and no limit of
// 1,024 open files, which su would bring.
func (s *Server) ejabberd(dir string, cfg Config) (*exec.Cmd, error) {
	hashName := "sha"
	if cfg.SHA256 {
		hashName = "sha256"
	}
	text := ejabberdConfig
	if !cfg.NoResume {
		text += ejabberdResume
	}
	if cfg.Text != "" {
		text = cfg.Text
	}
	config := s.configure(text, dir, cfg, "$hash", hashName)
	if err := writeFile(config, dir, "ejabberd.yml"); err != nil {
		return nil, err
	}
	cmd := exec.Command("erl", "+K", "true", "+P", "250000", "-noinput",
		"-mnesia", "dir", fmt.Sprintf("%q", filepath.Join(dir, "db")), "-s", "ejabberd", "-eval", register(cfg))
	cmd.Dir = dir
	libs, err := filepath.Glob("/usr/lib/*/ejabberd-*")
	if err != nil || len(libs) == 0 {
		return nil, fmt.Errorf("ejabberd's own files are not below /usr/lib: %w", os.ErrNotExist)
	}
	cmd.Env = append(os.Environ(), "HOME="+dir, "ERL_LIBS="+filepath.Dir(libs[0]), "ERL_CRASH_DUMP_BYTES=0", "ERL_MAX_PORTS=65000",
		"EJABBERD_CONFIG_PATH="+filepath.Join(dir, "ejabberd.yml"), "EJABBERD_LOG_PATH="+filepath.Join(dir, "ejabberd.log"))
	return cmd, nil
}

// register is the Erlang that makes the accounts.
func register(cfg Config) string {
	var b strings.Builder
	for name, password := range cfg.Accounts {
		fmt.Fprintf(&b, "ejabberd_auth:try_register(%s, %s, %s), ", binary(name), binary(cfg.Domain), binary(password))
	}
	return b.String() + fmt.Sprintf("io:format(%q).", ready+"~n")
}

// binary is s as an Erlang binary, whatever is in it.
func binary(s string) string {
	bytes := make([]string, len(s))
	for i := range len(s) {
		bytes[i] = strconv.Itoa(int(s[i]))
	}
	return "<<" + strings.Join(bytes, ",") + ">>"
}
