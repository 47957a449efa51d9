#include "tools/torture/torture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <thread>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"
#include "hypervisor/machine/initrd.hpp"
#include "hypervisor/machine/linux_image.hpp"
#include "hypervisor/machine/read_file.hpp"
#include "tools/torture/places.hpp"
#include "tools/torture/round.hpp"
#include "tools/vm/machine_config.hpp"
#include "tools/vm/vm_description.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// The program, and init that runs it, as an initial file system.
void write_initrd(const fs::path& file, const machine::LinuxConfig& config) {
    const fs::path program = default_linux_files().init.parent_path() / "torture";
    machine::CpioArchive archive;
    for (const char* folder : {"dev", "proc", "sys", "tmp", "understudy"}) {
        archive.add_folder(folder);
    }
    archive.add_file("init", machine::read_file(config.init, "init program of Linux guests"), true);
    archive.add_file("torture",
                     machine::read_file(program.string(), "program that `understudy torture` runs in guests"), true);
    const std::string settings = machine::init_settings(config);
    archive.add_file("understudy/settings", std::as_bytes(std::span(settings)), false);
    const std::vector<std::byte> bytes = std::move(archive).finish();
    std::ofstream out(file, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) {
        throw Error::format("cannot write {}", file.string());
    }
}

machine::LinuxConfig guest_of(const TortureOptions& options, std::uint64_t seed, const fs::path& folder) {
    VmDescription vm;
    vm.name = "torture";
    vm.memory = options.memory;
    vm.image = options.image;
    vm.initrd = options.image.empty() ? folder / "initrd" : fs::path();
    vm.arguments = options.command;
    vm.network.endpoint = "torture";
    vm.network.ipv4_address = parse_ipv4("10.0.2.15");
    vm.network.ipv4_netmask = netmask_of(24);
    if (options.image.empty()) {
        vm.arguments = {"/torture", "--seed", std::to_string(seed), "--operations", std::to_string(options.operations)};
        if (!options.only.empty()) {
            vm.arguments.insert(vm.arguments.end(), {"--only", options.only});
        }
        if (options.hostile) {
            vm.arguments.emplace_back("--hostile");
        }
    }
    complete(vm);
    auto config = std::get<machine::LinuxConfig>(guest_config(vm));
    if (options.image.empty()) {
        write_initrd(folder / "initrd", config);
    }
    return config;
}

RoundConfig round_of(const TortureOptions& options, std::uint64_t seed, const fs::path& folder,
                     const std::stop_token& stop) {
    RandomEngine random(seed);
    RoundConfig config;
    config.stop = stop;
    config.seed = seed;
    config.guest = guest_of(options, seed, folder);
    // From a stop each 100,000 counts or so to as many as a host does by default; odd.
    config.quantum = {((std::uint64_t{1} << 17U) << below(random, 6)) + below(random, 5000)};
    config.digest_interval = std::chrono::milliseconds(below(random, 2) * 50);
    // Where the log's digests are to tell what differs, memory has to be known at each.
    config.look_interval = config.digest_interval == GuestTime{0} ? std::uint64_t{1} << (2 * below(random, 3)) : 1;
    config.quiet = std::chrono::microseconds(std::uint64_t{500} << below(random, 6));
    config.noise = below(random, 8) != 0;
    return config;
}

std::string text_of(const Divergence& divergence, const Places& places) {
    constexpr std::size_t kMostPages = 32;
    std::string text = fmt::format("{}\n", divergence.what);
    for (std::size_t i = 0; i < std::min(divergence.pages.size(), kMostPages); ++i) {
        const PageDifference& page = divergence.pages[i];
        text += fmt::format("  page {:#x}{}\n", page.page * kTrailPageBytes,
                            page.only_one_changed ? ", which only one of both changed" : "");
        if (page.lines.empty()) {
            text += fmt::format("    {}\n", places.describe(page.page * kTrailPageBytes));
        }
        for (const std::size_t line : page.lines) {
            text += fmt::format("    +{:#05x} {}\n", line, places.describe(page.page * kTrailPageBytes + line));
            if (i < divergence.contents.size()) {
                text += hexadecimal(std::span(divergence.contents[i]).subspan(line, kTrailLineBytes));
            }
        }
    }
    const std::size_t last_line =
        divergence.console.rfind('\n', std::max<std::size_t>(divergence.console.size(), 200) - 200);
    text +=
        "  the guest's last words: " + divergence.console.substr(last_line == std::string::npos ? 0 : last_line + 1) +
        "\n";
    return text;
}

std::string keep_log(const TortureOptions& options, std::uint64_t seed, const fs::path& log,
                     const std::string& report) {
    if (options.keep.empty()) {
        return "  --keep DIR keeps the log\n";
    }
    fs::create_directories(options.keep);
    const fs::path kept = options.keep / fmt::format("seed-{}.log", seed);
    fs::copy_file(log, kept, fs::copy_options::overwrite_existing);
    std::ofstream(options.keep / fmt::format("seed-{}.txt", seed)) << report;
    return fmt::format("  kept: {}\n", kept.string());
}

// Nothing where the user wants an end.
std::optional<TortureRound> run_round(const TortureOptions& options, std::uint64_t seed, const std::stop_token& stop) {
    const auto begin = Clock::now();
    const TemporaryDirectory folder;
    const RoundConfig config = round_of(options, seed, folder.path(), stop);
    const fs::path log = folder.path() / "log";
    const Recorded recorded = record_round(config, log);
    if (stop.stop_requested()) {
        return std::nullopt;
    }
    TortureRound round{seed, recorded.stops, recorded.interrupts, recorded.counts, recorded.log_bytes, {}, {}};
    const Places places(machine::load_linux(config.guest));
    if (!recorded.failure.empty()) {
        round.failure += "the recorded guest: " + recorded.failure + "\n" + recorded.console;
    } else if (recorded.status != 0) {
        round.failure +=
            fmt::format("the guest's program ended with status {}:\n{}", recorded.status, recorded.console);
    }
    for (unsigned replay = 0; replay < options.replays; ++replay) {
        const unsigned cpu = replay % std::max(1U, std::thread::hardware_concurrency());
        const Divergence divergence = replay_round(config, log, recorded, cpu, seed + replay);
        if (stop.stop_requested()) {
            return std::nullopt;
        }
        if (divergence.any()) {
            round.failure +=
                fmt::format("replay {}, stop {}: {}", replay + 1, divergence.stop.value, text_of(divergence, places));
        }
    }
    if (!round.failure.empty()) {
        round.failure += keep_log(options, seed, log, round.failure);
    }
    round.took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
    return round;
}

}  // namespace

TortureResult torture(const TortureOptions& options, const std::stop_token& stop,
                      const std::function<void(const TortureRound&)>& report) {
    TortureResult result;
    const auto begin = Clock::now();
    for (std::uint64_t seed = options.seed;; ++seed) {
        if (options.duration ? Clock::now() - begin >= *options.duration : result.rounds >= options.rounds) {
            return result;
        }
        const std::optional<TortureRound> round = run_round(options, seed, stop);
        if (!round) {
            return result;
        }
        ++result.rounds;
        result.stops += round->stops;
        result.interrupts += round->interrupts;
        result.failed += round->failure.empty() ? 0 : 1;
        report(*round);
    }
}

}  // namespace understudy::tools
