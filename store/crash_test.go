package store_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/store"
)

// TestCrash kills a process that appends, at random moments, and finds
// everything there that the process saw acknowledged (rule 17).
func TestCrash(t *testing.T) {
	dir := newDir(t)
	acked := map[uint64]string{} // sequence and content, of all rounds
	puts := uint64(0)
	for round := range 4 {
		n, put := crash(t, dir, round, acked)
		puts = max(puts, put)
		if n == 0 {
			t.Fatalf("round %d: nothing was acknowledged", round)
		}
		s := open(t, dir)
		found := map[uint64]string{}
		err := openLog(t, s, 1).Read(t.Context(), store.Start{}, nil, func(r store.Record) bool {
			found[r.Seq] = string(r.Data)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		for seq, data := range acked {
			if found[seq] != data {
				t.Fatalf("round %d: record %d is %q, acknowledged as %q", round, seq, found[seq], data)
			}
		}
		v, _, err := openTable(t, s).Get(t.Context(), "count")
		if err != nil || uint64(v.Count) < puts {
			t.Fatalf("round %d: counted %d, %v; %d acknowledged", round, v.Count, err, puts)
		}
		t.Logf("round %d: %d acknowledged, %d records found, counter %d of %d", round, n, len(found), v.Count, puts)
		s.Close()
	}
}

// crash runs the child for a moment. It adds what the child reports to acked
// and returns how much that was, and the last count that was acknowledged.
func crash(t *testing.T, dir string, round int, acked map[uint64]string) (n int, put uint64) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), "FARREACH_TEST_APPEND="+dir, fmt.Sprint("FARREACH_TEST_ROUND=", round))
	child.Stderr = t.Output()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	var kill *time.Timer
	for line := [16]byte{}; ; n++ {
		if _, err := readFull(in, line[:]); err != nil {
			break // the pipe ends where the process did
		}
		if n == 0 { // from now on it may die at any moment
			kill = time.AfterFunc(20*time.Millisecond+rand.N(80*time.Millisecond), func() { child.Process.Kill() })
		}
		seq, id := binary.BigEndian.Uint64(line[:8]), binary.BigEndian.Uint64(line[8:])
		if seq == 0 {
			put = max(put, id)
		} else {
			acked[seq] = strconv.FormatUint(id, 10)
		}
	}
	if kill != nil {
		kill.Stop()
	}
	_ = child.Wait() // killed
	return n, put
}

func readFull(in *bufio.Reader, b []byte) (int, error) {
	for i := range b {
		c, err := in.ReadByte()
		if err != nil {
			return i, err
		}
		b[i] = c
	}
	return len(b), nil
}

// appendForever is the child of TestCrash: it appends on several goroutines
// and counts in a table, and says what was acknowledged: 8 bytes of sequence,
// or 0, and 8 bytes of content.
func appendForever(dir string) int {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l, err1 := store.OpenLog(ctx, s, "test", store.LogConfig{})
	table, err2 := store.OpenTable[thing](ctx, s, "things", 0)
	if err := errors.Join(err1, err2); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if _, err := table.Create(ctx, "count", thing{}); err != nil && !errors.Is(err, store.ErrExists) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var out sync.Mutex
	tell := func(seq, id uint64) {
		out.Lock()
		defer out.Unlock()
		b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, seq), id)
		os.Stdout.Write(b)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for err == nil {
				id := rand.Uint64()
				seq, err := l.Append(ctx, []string{strconv.FormatUint(id%10, 10)}, strconv.AppendUint(nil, id, 10))
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				tell(seq, id)
			}
		})
	}
	wg.Go(func() {
		for {
			v, err := table.Modify(ctx, "count", func(v *thing) error { v.Count++; return nil })
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
			tell(0, uint64(v.Count))
		}
	})
	wg.Wait()
	return 1
}

// TestBad51 damages the files of a log: what is read afterwards is right or
// missing, never wrong, the rest is there, and somebody is told.
func TestBad51(t *testing.T) {
	const records = 200
	want := func(i uint64) string { return fmt.Sprintf("record %06d of the log %06d", i, i*7919) }
	for name, damage := range map[string]func(b []byte) []byte{
		"bit flips":         func(b []byte) []byte { b[len(b)/2] ^= 0x10; return b },
		"bit flip at start": func(b []byte) []byte { b[40] ^= 0x01; return b },
		"bit flip at end":   func(b []byte) []byte { b[len(b)-20] ^= 0x01; return b },
		"truncated":         func(b []byte) []byte { return b[:len(b)*2/3] },
		"zeroes": func(b []byte) []byte {
			clear(b[len(b)/3 : len(b)/3+200])
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDir(t)
			s := open(t, dir)
			l := openLog(t, s, 1)
			for i := range uint64(records) {
				mustAppend(t, l, want(i+1), "k")
			}
			s.Close()
			blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "farreach-test", "msgs", "*.blk"))
			if err != nil || len(blocks) != 1 {
				t.Fatal(blocks, err)
			}
			b, err := os.ReadFile(blocks[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(blocks[0], damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			var told loud
			s, err = store.Open(t.Context(), store.Config{Dir: dir, Log: slog.New(&told)})
			if err != nil {
				t.Logf("refused to open: %v", err)
				return
			}
			defer s.Close()
			l, err = store.OpenLog(t.Context(), s, "test", store.LogConfig{})
			if err != nil {
				t.Logf("refused to open the log: %v", err)
				return
			}
			n := 0
			err = l.Read(t.Context(), store.Start{}, nil, func(r store.Record) bool {
				if n++; string(r.Data) != want(r.Seq) {
					t.Errorf("record %d is wrong: %q", r.Seq, r.Data)
				}
				return true
			})
			warnings, last := told.told() // the server may have more to say
			t.Logf("%d of %d records, error %v, %d warnings %q", n, records, err, warnings, last)
			if err == nil && n < records && warnings == 0 {
				t.Error("records are missing and nobody was told")
			}
			if last, err := l.Last(t.Context(), []string{"k"}); err == nil && string(last.Data) != want(last.Seq) {
				t.Errorf("the last record is wrong: %q", last.Data)
			} else {
				t.Logf("last: %d, %v", last.Seq, err)
			}
			mustAppend(t, l, "after", "k") // the rest serves
			if last, err := l.Last(t.Context(), []string{"k"}); err != nil || string(last.Data) != "after" {
				t.Errorf("after an append the last record is %q, %v", last.Data, err)
			}
		})
	}
}

// loud counts the warnings and errors that are logged.
type loud struct {
	slog.Handler
	mu   sync.Mutex
	n    int
	last string
}

func (l *loud) told() (n int, last string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n, l.last
}

func (l *loud) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (l *loud) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	l.last = r.Message
	return nil
}
