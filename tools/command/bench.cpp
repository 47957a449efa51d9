// `understudy bench`: the benchmarks, one subcommand each.
#include <CLI/CLI.hpp>
#include <vector>

#include "tools/bench/arbiter.hpp"
#include "tools/bench/smoke.hpp"
#include "tools/command/commands.hpp"

namespace understudy::tools {

Command add_bench(CLI::App& root) {
    CLI::App* app = root.add_subcommand("bench", "Measure: replication overhead, failover times, the arbiter");
    app->require_subcommand(1);
    std::vector<Command> benchmarks = {add_bench_smoke(*app), add_bench_arbiter(*app)};
    app->footer("Example:\n  understudy bench smoke");
    return {app, [benchmarks] {
                for (const Command& benchmark : benchmarks) {
                    if (benchmark.app->parsed()) {
                        return benchmark.run();
                    }
                }
                return 0;
            }};
}

}  // namespace understudy::tools
