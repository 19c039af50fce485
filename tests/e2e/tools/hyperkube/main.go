// Command hyperkube is the whole of Kubernetes that the end-to-end tests need in one static binary: etcd, the control
// plane, kubelet, kube-proxy and kubectl. It becomes the program whose name it is called by (a symbolic link), or the
// one that its first argument names. One link step and one copy of the shared code instead of seven.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	// The programs' own main packages import these for their side effects: JSON logs, client and version metrics.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// component runs a server's cobra command and answers its exit status.
func component(command *cobra.Command) int {
	return cli.Run(command)
}

var programs = map[string]func() int{
	"etcd": func() int {
		etcdmain.Main(os.Args)
		return 0
	},
	"kube-apiserver":          func() int { return component(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() int { return component(controllers.NewControllerManagerCommand()) },
	"kube-proxy":              func() int { return component(proxy.NewProxyCommand()) },
	"kube-scheduler":          func() int { return component(scheduler.NewSchedulerCommand()) },
	"kubelet":                 func() int { return component(kubelet.NewKubeletCommand(context.Background())) },
	"kubectl": func() int {
		// kubectl prints its own errors, with hints that cli.Run would not give.
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
		return 0
	},
}

func main() {
	name := filepath.Base(os.Args[0])
	if _, linked := programs[name]; !linked && len(os.Args) > 1 {
		name, os.Args = os.Args[1], os.Args[1:]
	}
	run, known := programs[name]
	if !known {
		fmt.Fprintln(os.Stderr, "hyperkube plays one of:", strings.Join(slices.Sorted(maps.Keys(programs)), " "))
		os.Exit(2)
	}
	os.Exit(run())
}
