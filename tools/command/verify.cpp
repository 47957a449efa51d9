// `understudy verify`: the verifying client by itself.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "tools/command/choice.hpp"
#include "tools/command/commands.hpp"
#include "tools/command/stop_signals.hpp"
#include "tools/output/event_writer.hpp"
#include "tools/output/milliseconds.hpp"
#include "tools/verifier/verifier.hpp"

namespace understudy::tools {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

struct Options {
    VerifierConfig verifier;
    std::optional<double> seconds;
    bool until_stdin_closes = false;
    bool json = false;
};

constexpr milliseconds kReportInterval{1000};

Event report(const std::string& kind, const VerifierFigures& figures, std::optional<bool> ok) {
    std::vector<Event::Field> fields = {
        {"seconds", std::chrono::duration<double>(figures.duration).count()},
        {"answers", figures.answers},
        {"acked_writes", figures.acknowledged_writes},
        {"lost_acked_writes", figures.lost_acknowledged_writes},
        {"contradictions", figures.contradictions},
        {"dropped_connections", figures.dropped_connections},
        {"unanswered", figures.unanswered},
        {"gap_ms", in_milliseconds(figures.longest_gap)},
        {"p50_ms", in_milliseconds(figures.latency_p50)},
        {"p99_ms", in_milliseconds(figures.latency_p99)},
        {"p999_ms", in_milliseconds(figures.latency_p999)},
    };
    if (!figures.first_finding.empty()) {
        fields.emplace_back("finding", figures.first_finding);
    }
    if (ok) {
        fields.emplace_back("ok", *ok);
    }
    return {kind, std::move(fields)};
}

// Waits until `deadline` at most. True: the user wants an end.
bool end_wanted(int signals, bool watch_stdin, Clock::time_point deadline) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    std::array<pollfd, 2> fds = {pollfd{.fd = signals, .events = POLLIN, .revents = 0},
                                 pollfd{.fd = watch_stdin ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0}};
    if (::poll(fds.data(), fds.size(), static_cast<int>(std::max<milliseconds::rep>(left.count(), 0))) <= 0) {
        return false;
    }
    if (fds[0].revents != 0) {
        return true;
    }
    std::array<char, 256> ignored;
    return fds[1].revents != 0 && ::read(STDIN_FILENO, ignored.data(), ignored.size()) <= 0;
}

int run(const Options& options) {
    const FileDescriptor signals = stop_signals();  // before the verifier's thread, which must not take them
    EventWriter writer(stdout, options.json ? EventWriter::Form::json : EventWriter::Form::text);
    Verifier verifier(options.verifier);
    verifier.start();
    const auto end = options.seconds ? Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                          std::chrono::duration<double>(*options.seconds))
                                     : Clock::time_point::max();
    auto next_report = Clock::now() + kReportInterval;
    while (Clock::now() < end && !end_wanted(signals.get(), options.until_stdin_closes, std::min(end, next_report))) {
        if (Clock::now() >= next_report) {
            writer.write(report("progress", verifier.since_start(), std::nullopt));
            next_report += kReportInterval;
        }
    }
    const bool complete = verifier.final_check();
    const auto figures = verifier.since_start();
    const bool ok = complete && figures.clean();
    writer.write(report("verdict", figures, ok));
    return ok ? 0 : 1;
}

}  // namespace

Command add_verify(CLI::App& root) {
    const auto options = std::make_shared<Options>();
    CLI::App* app = root.add_subcommand(
        "verify", "Load a Redis or PostgreSQL server with writes and check that none of the acknowledged is lost");
    app->add_option("--server", options->verifier.server, "The server under test")->required()->type_name("HOST:PORT");
    add_choice<Protocol>(*app, "--protocol", options->verifier.protocol,
                         {{"redis", Protocol::redis}, {"postgres", Protocol::postgres}},
                         "redis: keys are written. postgres: transactions are committed, as user postgres without a "
                         "password, in tables of their own that stay [redis]");
    app->add_option("--connections", options->verifier.connections, "Connections at once")
        ->check(CLI::Range(1, 10000))
        ->capture_default_str();
    app->add_option("--rate", options->verifier.rate, "Requests per second over all connections; 0: no limit")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app->add_option("--seconds", options->seconds, "End after this time (default: until interrupted)")
        ->check(CLI::PositiveNumber);
    app->add_flag("--until-stdin-closes", options->until_stdin_closes, "End when standard input does");
    app->add_flag("--json", options->json, "Print events as JSON lines");
    app->footer(
        "Exit status 0: no write lost, no answer contradicted, no connection dropped.\n"
        "Examples:\n"
        "  understudy verify --server 127.0.0.1:6379 --seconds 10\n"
        "  understudy verify --server 127.0.0.1:5432 --protocol postgres --connections 8 --seconds 10");
    return {.app = app, .run = [options] { return run(*options); }};
}

}  // namespace understudy::tools
