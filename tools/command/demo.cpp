// `understudy demo`: a protected guest on this machine, under load, its primary lost again and again, and the verdict.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "tools/command/choice.hpp"
#include "tools/command/commands.hpp"
#include "tools/command/report_file.hpp"
#include "tools/demo/report.hpp"
#include "tools/demo/scenario.hpp"
#include "tools/demo/stage.hpp"
#include "tools/vm/vm_description.hpp"

namespace understudy::tools {
namespace {

struct Options {
    ScenarioOptions scenario;
    GuestKind guest = GuestKind::redis;
    std::string memory;
    unsigned connections = 0;
    std::string json;
    std::string timeline;
    bool keep = false;
};

// What the guest consists of besides its image, which is looked for where this executable is.
void require_guest(const ScenarioOptions& options) {
    const std::filesystem::path needed = options.guest.is_linux()
                                             ? default_linux_files().kernel
                                             : options.executable.parent_path() / "programs" / options.guest.name;
    std::error_code ignored;
    if (!std::filesystem::exists(needed, ignored)) {
        throw Error::format("there is no {}: build it first, with ./run build", needed.string());
    }
    if (!options.image.empty() && !options.guest.is_linux()) {
        throw Error::format("--image is for guests that run Linux: {} is {}", options.guest.name, options.guest.title);
    }
    if (!options.image.empty() && !std::filesystem::exists(options.image, ignored)) {
        throw Error::format("there is no image {}", options.image.string());
    }
}

ScenarioOptions complete(const Options& options) {
    ScenarioOptions scenario = options.scenario;
    std::error_code ignored;
    scenario.executable = std::filesystem::read_symlink("/proc/self/exe", ignored);
    scenario.guest = describe(options.guest);
    if (!options.memory.empty()) {
        scenario.guest.memory = options.memory;
    }
    static_cast<void>(parse_size(scenario.guest.memory));  // before anything is built or started
    if (options.connections > 0) {
        scenario.guest.connections = options.connections;
    }
    if (scenario.seed == 0) {
        scenario.seed = std::random_device{}();
    }
    Scenario::require_host(scenario);
    require_guest(scenario);
    return scenario;
}

Report play(Stage& stage, const ScenarioOptions& options, bool keep) {
    Report report;
    report.seed = options.seed;
    try {
        Scenario scenario(stage, options);
        scenario.run(report);
    } catch (const Error& error) {
        report.failure = error.what();
        stage.timeline().say("demo", "FAILED: " + report.failure);
    }
    // What a client or a replica has noticed once may not come again.
    if (keep || !report.finding.empty() || report.divergences != 0) {
        stage.directory().keep();
        stage.timeline().say(
            "demo", "the logs, the frames at the gateway, and the guest's states where replicas differed, are in " +
                        stage.directory().path().string());
    }
    return report;
}

// Each of them, whatever becomes of another.
void write_all(const std::vector<std::function<void()>>& files) {
    std::vector<std::string> troubles;
    for (const auto& write : files) {
        try {
            write();
        } catch (const Error& error) {
            troubles.emplace_back(error.what());
        }
    }
    if (!troubles.empty()) {
        throw Error::format("{}", fmt::join(troubles, "; "));
    }
}

int run(const Options& options) {
    const ScenarioOptions scenario = complete(options);
    ReportFile json(options.json);
    Stage stage;
    if (!options.timeline.empty()) {
        stage.timeline().keep(options.timeline);
    }
    const Report report = play(stage, scenario, options.keep);
    // The verdict is said before a file can fail; and whatever becomes of standard output, which main() looks at, the
    // files are written.
    std::cout << report.to_text() << std::flush;
    write_all({[&] { json.write(report.to_json() + "\n"); }, [&] { stage.timeline().finish(); }});
    return report.ok() ? 0 : 1;
}

}  // namespace

Command add_demo(CLI::App& root) {
    const auto options = std::make_shared<Options>();
    ScenarioOptions& scenario = options->scenario;
    CLI::App* app =
        root.add_subcommand("demo", "All of it on this machine: a pair, an arbiter, load, faults, the verdict");
    add_choice<GuestKind>(
        *app, "--guest", options->guest,
        {{"redis", GuestKind::redis},
         {"postgres", GuestKind::postgres},
         {"uncounted", GuestKind::uncounted},
         {"kv", GuestKind::kv}},
        "redis: Debian's redis-server on Linux. postgres: Debian's PostgreSQL on Linux. uncounted: redis-server beside "
        "programs that compute without end. kv: a server of the Redis protocol on the small kernel [redis]");
    app->add_option("--image", scenario.image,
                    "The guest's image; without it, `understudy image` makes one of Debian's packages and keeps it")
        ->type_name("FILE");
    app->add_option("--rounds", scenario.rounds, "How often the primary is lost")
        ->capture_default_str()
        ->check(CLI::Range(1, 10000));
    add_choice<Fault>(
        *app, "--fault", scenario.fault,
        {{"kill", Fault::kill},
         {"stop", Fault::stop},
         {"partition", Fault::partition},
         {"cut", Fault::cut},
         {"host", Fault::host},
         {"arbiter", Fault::arbiter},
         {"gateway", Fault::gateway},
         {"flip", Fault::flip}},
        "kill: SIGKILL to the primary. stop: SIGSTOP, later SIGCONT. partition: the pair's connection goes "
        "silent, both alive. cut: it breaks. host: the link of the primary's host goes down (needs root, for network "
        "namespaces). arbiter: with the primary dies the arbiter's leader. gateway: with it the gateway hears nothing "
        "more of it. flip: a bit of the backup's guest memory changes [kill]");
    app->add_option("--json", options->json, "Write the report there")->type_name("FILE");
    app->add_option("--timeline", options->timeline, "Write what happened when there, for ui.perfetto.dev")
        ->type_name("FILE");
    app->add_option("--seed", scenario.seed, "Of the faults' moments [random]");
    app->add_option("--connections", options->connections, "Of the verifying client [16; 8 with postgres]")
        ->check(CLI::Range(1, 1000));
    app->add_option("--memory", options->memory, "The guest's memory [256M; 384M with postgres, 64M with kv]");
    app->add_option("--suspicion", scenario.suspicion_ms,
                    "Milliseconds of silence after which a replica takes its peer for lost; more on a busy machine")
        ->capture_default_str()
        ->check(CLI::Range(50, 60'000));
    app->add_flag("--keep", options->keep, "Keep the directory with every process's log, also when all went well");
    app->footer(
        "Exit status 0: no acknowledged write lost, no connection dropped, no replay different.\n\n"
        "Examples:\n"
        "  understudy demo --rounds 5 --fault stop --json report.json\n"
        "  understudy demo --guest postgres");
    return {app, [options] { return run(*options); }};
}

}  // namespace understudy::tools
