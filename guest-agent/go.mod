module portico.dev/agent

go 1.24
