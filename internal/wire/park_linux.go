package wire

import (
	"os"
	"sync"
	"syscall"
)

// Lot is where idle links are parked: nobody waits in their Next, one poller
// waits for all of them. A goroutine that waits costs 2.5 KB, a parked link 16
// bytes. It pays for links that are silent for seconds: a busy one would be
// parked and woken with each message.
//
//	Park ──▶ epoll ── readable ──▶ Wake ──▶ a goroutine that calls Next
//
// The zero value is ready; its methods may be called from several goroutines.
// Close ends it.
type Lot[W Waker] struct {
	mu     sync.Mutex      // guards what follows
	file   *os.File        // the epoll instance, for which the runtime's own poller waits; nil: none yet
	epoll  syscall.RawConn // of file
	slots  []W             // who is to be woken, by file descriptor
	ended  chan struct{}   // closed when run has returned
	closed bool
}

// wakeOn is what ends the silence of a socket; once, and then it is not looked
// at any more until it is parked again.
const wakeOn = syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT

// Park has w woken as soon as Next of l would not wait; nobody may be in it. It
// reports false if l cannot be parked: it is no socket, or has something left
// that was read before.
func (p *Lot[W]) Park(l Link, w W) bool {
	d, ok := parkable(l)
	if !ok {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.open() != nil {
		return false
	}
	ok = false
	err := p.epoll.Control(func(epoll uintptr) {
		d.rc.Control(func(fd uintptr) { // fails if l was closed
			ev := syscall.EpollEvent{Events: wakeOn, Fd: int32(fd)}
			err := syscall.EpollCtl(int(epoll), syscall.EPOLL_CTL_MOD, int(fd), &ev)
			if err == syscall.ENOENT { // the first time
				err = syscall.EpollCtl(int(epoll), syscall.EPOLL_CTL_ADD, int(fd), &ev)
			}
			if ok = err == nil; ok {
				p.take(int(fd), w)
				d.slot = int(fd)
			}
		})
	})
	return ok && err == nil
}

// parkable returns the socket below l, if nothing is left in l that was read
// and not taken; then it holds no memory any more.
func parkable(l Link) (*direct, bool) {
	if s, ok := l.(*Secure); ok {
		if !s.dry {
			return nil, false
		}
		s.cipher.Free()
		s.cipher = nil
		l = s.inner
	}
	d, ok := l.(*direct)
	return d, ok
}

// open makes the epoll instance. p.mu is held.
func (p *Lot[W]) open() error {
	if p.file != nil {
		return nil
	}
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // else os does not poll it
		syscall.Close(fd)
		return err
	}
	file := os.NewFile(uintptr(fd), "epoll")
	if p.epoll, err = file.SyscallConn(); err != nil {
		file.Close()
		return err
	}
	p.file, p.ended = file, make(chan struct{})
	go p.run(p.epoll, p.ended)
	return nil
}

// take puts w into a slot. p.mu is held.
func (p *Lot[W]) take(slot int, w W) {
	for slot >= len(p.slots) {
		var none W
		p.slots = append(p.slots, none)
	}
	p.slots[slot] = w
}

// Forget says that l, parked for w, needs not be woken: somebody is about to
// call its Next, or it is closed.
func (p *Lot[W]) Forget(l Link, w W) {
	if s, ok := l.(*Secure); ok {
		l = s.inner
	}
	d, ok := l.(*direct)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.slot < len(p.slots) && p.slots[d.slot] == w { // else another has the descriptor by now
		var none W
		p.slots[d.slot] = none
	}
}

// run wakes until the epoll instance is closed.
func (p *Lot[W]) run(epoll syscall.RawConn, ended chan<- struct{}) {
	defer close(ended)
	events := make([]syscall.EpollEvent, 128)
	n := 0
	wait := func(fd uintptr) bool {
		err := error(syscall.EINTR)
		for err == syscall.EINTR {
			n, err = syscall.EpollWait(int(fd), events, 0)
		}
		return n > 0
	}
	for epoll.Read(wait) == nil {
		for _, ev := range events[:n] {
			p.wake(int(ev.Fd))
		}
	}
}

// wake wakes whoever is parked in a slot. An event that was under way when its
// socket was closed may reach the next one with that descriptor, to whom it
// does no harm.
func (p *Lot[W]) wake(slot int) {
	var none W
	p.mu.Lock()
	w := none
	if slot < len(p.slots) {
		w, p.slots[slot] = p.slots[slot], none
	}
	p.mu.Unlock()
	if w != none {
		w.Wake()
	}
}

// Close ends the poller. Nobody is woken any more, and nothing can be parked.
func (p *Lot[W]) Close() {
	p.mu.Lock()
	p.closed = true
	file, ended := p.file, p.ended
	p.mu.Unlock()
	if file != nil {
		file.Close()
		<-ended
	}
}
