// `understudy demo`: a protected guest on this machine, under load, its primary lost again and again, and the verdict.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "common/error.hpp"
#include "tools/command/commands.hpp"
#include "tools/demo/report.hpp"
#include "tools/demo/scenario.hpp"
#include "tools/demo/stage.hpp"

namespace understudy::tools {
namespace {

struct Options {
    ScenarioOptions scenario;
    std::string json;
    bool keep = false;
};

// In place before the first process starts: a report that cannot be written is no reason to waste a minute.
std::ofstream open_report(const std::string& file) {
    std::ofstream stream;
    if (!file.empty()) {
        stream.open(file);
        if (!stream) {
            throw Error::from_errno("cannot write the report " + file, errno);
        }
    }
    return stream;
}

ScenarioOptions complete(ScenarioOptions options) {
    std::error_code ignored;
    if (options.executable.empty()) {
        options.executable = std::filesystem::read_symlink("/proc/self/exe", ignored);
    }
    if (options.program.empty()) {
        options.program = options.executable.parent_path() / "programs/kv";
    }
    if (!std::filesystem::exists(options.program, ignored)) {
        throw Error::format("there is no {}: build the guest programs first, with ./run build",
                            options.program.string());
    }
    if (options.seed == 0) {
        options.seed = std::random_device{}();
    }
    return options;
}

Report play(const ScenarioOptions& options, bool keep) {
    Report report;
    report.seed = options.seed;
    Stage stage;
    try {
        Scenario scenario(stage, options);
        scenario.run(report);
    } catch (const Error& error) {
        report.failure = error.what();
        stage.timeline().say("demo", "FAILED: " + report.failure);
    }
    if (keep) {
        stage.directory().keep();
        stage.timeline().say("demo", "the logs are in " + stage.directory().path().string());
    }
    return report;
}

int run(const Options& options) {
    std::ofstream json = open_report(options.json);
    const Report report = play(complete(options.scenario), options.keep);
    if (json.is_open()) {
        json << report.to_json() << '\n';
        json.close();
        if (!json) {
            throw Error("cannot write the report " + options.json);
        }
    }
    fmt::print("{}", report.to_text());
    return report.ok() ? 0 : 1;
}

}  // namespace

Command add_demo(CLI::App& root) {
    const auto options = std::make_shared<Options>();
    ScenarioOptions& scenario = options->scenario;
    CLI::App* app =
        root.add_subcommand("demo", "All of it on this machine: a pair, an arbiter, load, faults, the verdict");
    const std::map<std::string, Fault> faults = {
        {"kill", Fault::kill}, {"stop", Fault::stop}, {"partition", Fault::partition}};
    app->add_option("--rounds", scenario.rounds, "How often the primary is lost")
        ->capture_default_str()
        ->check(CLI::Range(1, 10000));
    app->add_option("--fault", scenario.fault,
                    "kill: SIGKILL to the primary. stop: SIGSTOP, later SIGCONT. partition: the pair's connection goes "
                    "silent, both alive [kill]")
        ->transform(CLI::Transformer(faults))
        ->type_name("kill|stop|partition");
    app->add_option("--json", options->json, "Write the report there")->type_name("FILE");
    app->add_option("--seed", scenario.seed, "Of the faults' moments [random]");
    app->add_option("--connections", scenario.connections, "Of the verifying client")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000));
    app->add_option("--memory", scenario.memory, "The guest's memory")->capture_default_str();
    app->add_option("--suspicion", scenario.suspicion_ms,
                    "Milliseconds of silence after which a replica takes its peer for lost; more on a busy machine")
        ->capture_default_str()
        ->check(CLI::Range(50, 60'000));
    app->add_flag("--keep", options->keep, "Keep the directory with every process's log");
    app->footer("Example:\n  understudy demo --rounds 5 --fault stop --json report.json");
    return {app, [options] { return run(*options); }};
}

}  // namespace understudy::tools
