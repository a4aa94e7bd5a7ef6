package e2e_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain builds the binary once and puts it first on the PATH, where scripts
// and tests find it as a user would.
func TestMain(m *testing.M) { os.Exit(runMain(m)) }

// atOnce is how many tests run at once, unless -parallel says so: many wait for
// most of their time, as for a keep-alive interval to be over.
const atOnce = "8"

// computing has a place for each test that does not wait for most of its time:
// with more of them than processors datagrams come late, and are sent again.
var computing = make(chan struct{}, runtime.GOMAXPROCS(0))

// computes makes t run beside others when there is a processor for it.
func computes(t *testing.T) {
	t.Parallel()
	computing <- struct{}{}
	t.Cleanup(func() { <-computing })
}

func runMain(m *testing.M) int {
	flag.Parse()
	if !slices.ContainsFunc(os.Args, func(arg string) bool { return strings.HasPrefix(arg, "-test.parallel") }) {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	dir, err := os.MkdirTemp("", "farreach-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "farreach"), "../cmd/farreach") // as make does, of the same packages
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	if err := errors.Join(touchSources(), os.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// touchSources looks at every source file, so that the go command knows that
// the result depends on them and does not take an old one from its cache.
func touchSources() error {
	return filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return filepath.SkipDir
		case strings.HasSuffix(name, ".go"):
			_, err = os.Stat(name)
		}
		return err
	})
}

// TestScript runs the scripts in testdata/script, each in a directory and with
// a home of its own. Beside the commands of testscript they have:
//
//	exits CODE PROGRAM ARG...       the program must end with this status
//	until REGEXP PROGRAM ARG...     runs it again and again until it writes a match
//	waitfile FILE...                until the files are there
//	waitfor FILE REGEXP [N]         until the file has N matches; without N, one
//	nats                            starts a NATS server for this script; NATS_URL is where
//	json FILE KEY                   the environment variable KEY is that member of the JSON object
//
// Each waits for at most a minute.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"until":    until,
			"waitfile": waitfile,
			"waitfor":  waitfor,
			"json":     jsonFile,
			"nats":     natsServer,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// exits CODE PROGRAM ARG...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit status %d, want %s", code, args[0])
	}
}

// until REGEXP PROGRAM ARG...
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM ARG...")
	}
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	poll(ts, func() bool {
		err := ts.Exec(args[1], args[2:]...)
		return err == nil && re.MatchString(ts.ReadFile("stdout"))
	})
}

// waitfile FILE...
func waitfile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: waitfile FILE...")
	}
	for _, name := range args {
		poll(ts, func() bool {
			_, err := os.Stat(ts.MkAbs(name))
			return err == nil
		})
	}
}

// waitfor FILE REGEXP [N]
func waitfor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: waitfor FILE REGEXP [N]")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	want := 1
	if len(args) == 3 {
		want, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	var content []byte
	ts.Defer(func() { ts.Logf("%s:\n%s", args[0], content) })
	poll(ts, func() bool {
		content, _ = os.ReadFile(ts.MkAbs(args[0])) // it may not be there yet
		return len(re.FindAll(content, -1)) >= want
	})
}

// poll calls done until it is true, and fails the script when it never is.
func poll(ts *testscript.TestScript, done func() bool) {
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-limit.C:
			ts.Fatalf("never happened")
		case <-tick.C:
		}
	}
}

// natsServer is nats
func natsServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: nats")
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: ts.MkAbs("nats"), NoSigs: true, NoLog: true,
	})
	ts.Check(err)
	s.Start()
	ts.Defer(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		ts.Fatalf("the NATS server does not start")
	}
	ts.Setenv("NATS_URL", s.ClientURL())
}

// jsonMember finds a member of an object that has text, a number or a boolean.
const jsonMember = `"%s"\s*:\s*"?([^",}\s]+)`

// jsonFile is json FILE KEY
func jsonFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: json FILE KEY")
	}
	m := regexp.MustCompile(fmt.Sprintf(jsonMember, regexp.QuoteMeta(args[1]))).FindStringSubmatch(ts.ReadFile(args[0]))
	if m == nil {
		ts.Fatalf("%s has no %s", args[0], args[1])
	}
	ts.Setenv(args[1], m[1])
}
