module github.com/farreach/farreach

go 1.26
