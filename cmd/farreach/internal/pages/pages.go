// Package pages gives back memory that a program of many parts took when it
// started and does not need while it runs as one of them.
//
//	the program's file ──▶ page cache ──▶ mapped when first touched ──▶ GiveBack: no more, until touched again
//
// What it gives back are pages of the program's own file, code and constants. Each
// package that is linked in touches some when it is initialized, and the kernel
// maps 64 KiB around each of them: of a server, a dashboard and their libraries, in
// a process that is a lamp. They are not written to, so that the kernel could take
// them back by itself, and does when memory is short; until then they count as
// resident. What is touched again comes from the page cache, at the price of a
// page fault.
package pages
