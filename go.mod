module github.com/keywicket/keywicket

go 1.26.8
