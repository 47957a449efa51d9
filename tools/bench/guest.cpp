#include "tools/bench/guest.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <regex>

#include "common/error.hpp"
#include "tools/bench/lines_of.hpp"
#include "tools/bench/linux_image.hpp"
#include "tools/bench/rows.hpp"
#include "tools/bench/site.hpp"
#include "tools/bench/spin_times.hpp"
#include "tools/demo/guest.hpp"
#include "tools/demo/lan.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kLongest = 10min;  // of one measurement
constexpr const char* kClientAddress = "10.77.0.2";
constexpr const char* kHostAddress = "10.77.0.3";
constexpr const char* kGuestAddress = "10.77.0.4";

std::vector<std::string> operator+(std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

class GuestBench {
  public:
    GuestBench(Site& site, const GuestBenchOptions& options, const BenchImage& image, std::string no_lan)
        : site_(site), options_(options), no_lan_(std::move(no_lan)), image_(site, image.file()) {
        if (no_lan_.empty()) {
            client_ = Lan::add_station(site_.stage(), "client", kClientAddress);
            host_ = Lan::add_station(site_.stage(), "host", kHostAddress);
        }
    }

    [[nodiscard]] std::vector<report::Row> measure();

    void boot();
    void systemd();
    void calls();
    void faults();
    void spawns();
    void spin();
    void redis();
    void postgres();
    void kernel();

  private:
    using Words = std::vector<std::string>;

    [[nodiscard]] double seconds_until(const Site::GuestWords& words);
    // Of the probe, on the host and in a guest, by turns.
    struct HostAndGuest {
        std::vector<double> host;
        std::vector<double> guest;
    };
    [[nodiscard]] HostAndGuest probe(const Words& arguments, const std::string& pattern);
    [[nodiscard]] std::filesystem::path probe_file() const {
        return site_.executable().parent_path() / "guest" / "linux" / "probe";
    }
    [[nodiscard]] std::shared_ptr<Child> start_on_host(const Words& command, const std::string& ready);
    [[nodiscard]] double redis_rate(const char* address, unsigned pipeline);
    [[nodiscard]] double pgbench_rate(const char* address, const char* mode);
    void add_exits(const std::string& name, const std::vector<std::string>& said, double requests);

    Site& site_;
    const GuestBenchOptions& options_;
    std::string no_lan_;  // why there is none
    LinuxImage image_;
    Lan::Station client_;
    Lan::Station host_;  // of the host's own servers
    Rows rows_{site_.stage().timeline()};
};

struct Part {
    const char* name;
    void (GuestBench::*measure)();
    bool needs_lan = false;
};
constexpr std::array kParts = {
    Part{"boot", &GuestBench::boot},           Part{"systemd", &GuestBench::systemd},
    Part{"calls", &GuestBench::calls},         Part{"faults", &GuestBench::faults},
    Part{"spawns", &GuestBench::spawns},       Part{"spin", &GuestBench::spin},
    Part{"redis", &GuestBench::redis, true},   Part{"postgres", &GuestBench::postgres, true},
    Part{"kernel", &GuestBench::kernel, true},
};

std::vector<report::Row> GuestBench::measure() {
    for (const Part& row : kParts) {
        if (!options_.only.empty() && std::ranges::find(options_.only, row.name) == options_.only.end()) {
            continue;
        }
        if (row.needs_lan && !no_lan_.empty()) {
            rows_.add_missing(row.name, no_lan_);
            continue;
        }
        try {
            (this->*row.measure)();
        } catch (const Error& error) {
            rows_.add_missing(row.name, error.what());
        }
    }
    return rows_.take();
}

// --- Starting
// ------------------------------------------------------------------------------------------------------------

double GuestBench::seconds_until(const Site::GuestWords& words) {
    const auto begin = Stage::Clock::now();
    const auto guest = site_.start_alone(words);
    return std::chrono::duration<double>(Stage::Clock::now() - begin).count();
}

void GuestBench::boot() {
    std::vector<double> times;
    for (unsigned i = 0; i < options_.repeats; ++i) {
        times.push_back(1e3 * seconds_until(image_.guest({"sh", "-c", "echo first words; exec sleep 100"}, "256M", "",
                                                         "first words")));
    }
    rows_.add({.what = "boot, to a command's first words",
               .unit = "ms",
               .measured = {"", times},
               .counts = report::Statistic::lowest,
               .target = report::at_most(150),
               .detail = "from the start of `understudy run`; the lowest counts"});
}

void GuestBench::systemd() {
    if (options_.systemd_image.empty()) {
        rows_.add_missing("boot, systemd to the login",
                          "name an image by --systemd-image (understudy image --systemd)");
        return;
    }
    const LinuxImage image(site_, options_.systemd_image);
    std::vector<double> times;
    for (unsigned i = 0; i < options_.repeats; ++i) {
        times.push_back(seconds_until(image.guest({}, "512M", "", "login")));
    }
    rows_.add({.what = "boot, systemd to the login",
               .unit = "s",
               .measured = {"", times},
               .counts = report::Statistic::lowest,
               .target = report::at_most(3),
               .detail = "the lowest counts"});
}

// --- The kernel's services
// --------------------------------------------------------------------------------------------

GuestBench::HostAndGuest GuestBench::probe(const Words& arguments, const std::string& pattern) {
    HostAndGuest result;
    for (unsigned i = 0; i < options_.repeats; ++i) {
        result.host.push_back(figure_of(site_.run(Words{probe_file().string()} + arguments, kLongest), pattern));
        result.guest.push_back(figure_of(image_.run(image_.program(probe_file(), arguments), kLongest), pattern));
    }
    return result;
}

void GuestBench::calls() {
    const auto [host, guest] = probe({"calls", "1000000"}, "calls_ns ([0-9.]+)");
    constexpr double kCalls = 2e6;
    const auto small = site_.start_alone("spin", {"--observe-clock", fmt::format("{:.0f}", kCalls)});
    site_.await_end(*small, kLongest);
    rows_.add({.what = "getppid",
               .unit = "ns",
               .measured = {"guest", guest},
               .baseline = report::Samples{"host", host},
               .counts = report::Statistic::lowest,
               .target = report::at_most(150),
               .detail = fmt::format("by glibc's site; a call of the small kernel {:.0f} ns; the lowest counts",
                                     figure_of(small->console(), "elapsed_ns=([0-9]+)") / kCalls)});
}

void GuestBench::faults() {
    const auto [host, guest] = probe({"faults", "20000"}, "faults_ns ([0-9.]+)");
    rows_.add({.what = "anonymous page fault",
               .unit = "ns",
               .measured = {"guest", guest},
               .baseline = report::Samples{"host", host},
               .counts = report::Statistic::lowest,
               .target = report::at_most(8000),
               .detail = "the lowest counts"});
}

void GuestBench::spawns() {
    const auto [host, guest] = probe({"spawns", "300"}, "spawns_ns ([0-9.]+)");
    rows_.add({.what = "fork, exec, wait of a small dynamic program",
               .unit = "ns",
               .measured = {"guest", guest},
               .baseline = report::Samples{"host", host},
               .target = report::ratio_at_most(1)});
}

void GuestBench::spin() {
    const Words arguments = {"--rounds", "50", "--passes", "2"};
    std::vector<double> ratios;
    std::vector<double> small_ratios;
    for (unsigned i = 0; i < options_.repeats; ++i) {
        const auto host = spin_times(site_.run(Words{site_.program("native/spin").string()} + arguments, kLongest));
        const auto guest = spin_times(image_.run(image_.program(site_.program("spin"), arguments), kLongest));
        const auto alone = site_.start_alone("spin", arguments);
        site_.await_end(*alone, kLongest);
        ratios.push_back(speed_ratio(guest, host));
        small_ratios.push_back(speed_ratio(spin_times(alone->console()), host));
    }
    rows_.add(
        {.what = "spin, counted, guest's speed",
         .unit = "of native",
         .measured = {"", ratios},
         .target = report::at_least(0.93),
         .detail = fmt::format("geometric mean of kernels; on the small kernel {:.3f}", report::median(small_ratios))});
}

// --- Servers
// -----------------------------------------------------------------------------------------------------------------

std::shared_ptr<Child> GuestBench::start_on_host(const Words& command, const std::string& ready) {
    // What a server says on the way is for people, and mostly on standard error.
    auto serves = std::make_shared<bool>(false);
    auto server = site_.stage().start(
        "host-server", host_.command + Words{"/bin/sh", "-c", "exec \"$@\" 2>&1", "sh"} + command,
        [serves, ready](std::string_view line) { *serves = *serves || line.find(ready) != std::string_view::npos; });
    site_.stage().until([&] { return *serves; }, 30s, "the host's server to be ready");
    return server;
}

double GuestBench::redis_rate(const char* address, unsigned pipeline) {
    const unsigned requests = pipeline == 1 ? options_.requests : 4 * options_.requests;
    return figure_of(
        site_.run(client_.command + Words{"redis-benchmark", "-h", address, "-t", "set", "-c", "50", "-P",
                                          std::to_string(pipeline), "-n", std::to_string(requests), "--csv"},
                  kLongest),
        R"re("SET","([0-9.]+)")re");
}

// "exits":{"idle":12,...} at the end of `understudy run --json`: what there was for each request, by kind.
void GuestBench::add_exits(const std::string& name, const std::vector<std::string>& said, double requests) {
    const auto ended =
        std::ranges::find_if(said, [](const auto& line) { return line.find("\"exits\":{") != line.npos; });
    if (ended == said.end()) {
        throw Error("the guest's run said nothing of its exits");
    }
    double exits = 0;
    std::string kinds;
    static const std::regex pattern("\"([a-z_]+)\":([0-9]+)");
    const std::string members = ended->substr(ended->find("\"exits\":{") + 9);
    for (auto at = std::sregex_iterator(members.begin(), members.end(), pattern); at != std::sregex_iterator(); ++at) {
        const double each = std::stod((*at)[2]) / requests;
        const std::string kind = (*at)[1];
        const bool leaves = kind != "page_fault" && kind != "system_call" && kind != "hypercall" && kind != "emulated";
        exits += leaves ? each : 0;
        if (each >= 0.0005) {
            kinds += fmt::format("{}{} {:.3f}", kinds.empty() ? "" : ", ", kind, each);
        }
    }
    rows_.add({.what = name + ", exits each", .measured = {"", {exits}}, .detail = kinds});
}

void GuestBench::redis() {
    const GuestDescription description = describe(GuestKind::redis);
    const auto server = start_on_host(description.arguments, description.ready);
    const auto words = image_.guest(description.arguments, description.memory, kGuestAddress, description.ready);
    for (const unsigned pipeline : {1U, 16U}) {
        std::vector<double> host;
        std::vector<double> alone;
        std::vector<double> guarded;
        std::vector<std::string> said;
        for (unsigned i = 0; i < options_.repeats; ++i) {
            host.push_back(redis_rate(kHostAddress, pipeline));
            {
                const auto guest = site_.start_alone(words, {"--json"});
                alone.push_back(redis_rate(kGuestAddress, pipeline));
                said = site_.end(*guest);
            }
            const auto guest = site_.start_protected(words);
            guarded.push_back(redis_rate(kGuestAddress, pipeline));
        }
        const std::string name = pipeline == 1 ? "redis SET" : fmt::format("redis SET, pipelined by {}", pipeline);
        rows_.add({.what = name,
                   .unit = "requests/s",
                   .measured = {"guest", alone},
                   .baseline = report::Samples{"host", host},
                   .target = report::ratio_at_least(pipeline == 1 ? 0.7 : 0.8),
                   .detail = "50 clients"});
        rows_.add({.what = name,
                   .unit = "requests/s",
                   .measured = {"protected", guarded},
                   .baseline = report::Samples{"unprotected", alone},
                   .target = report::ratio_at_least(0.6)});
        add_exits(name, said, pipeline == 1 ? options_.requests : 4.0 * options_.requests);
    }
    site_.stage().dismiss(server);
}

double GuestBench::pgbench_rate(const char* address, const char* mode) {
    return figure_of(
        site_.run(client_.command + Words{"pgbench", "-h", address, "-U", "postgres", "-n", mode, "-c", "8", "-j", "1",
                                          "-T", std::to_string(options_.seconds), "postgres"},
                  kLongest),
        "tps = ([0-9.]+)");
}

// A cluster in memory, as the guest's is, with the same settings. It ends with who started it: exchanging users has
// undone what the process had been given for that.
constexpr const char* kStartPostgres =
    "set -e; bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1); data=$1; mkdir -p $data; chown postgres $data; "
    "runuser -u postgres -- $bin/initdb -A trust -D $data > /dev/null; "
    "echo 'host all all all trust' >> $data/pg_hba.conf; "
    "exec setpriv --reuid=postgres --regid=postgres --init-groups --pdeathsig=KILL $bin/postgres -D $data -c "
    "unix_socket_directories= -c listen_addresses='*' "
    "-c min_wal_size=32MB -c max_wal_size=48MB -c shared_buffers=32MB";

void GuestBench::postgres() {
    const std::filesystem::path data = fmt::format("/dev/shm/understudy-bench-{}", ::getpid());
    const auto remove = [](const std::filesystem::path* path) {
        std::error_code ignored;
        std::filesystem::remove_all(*path, ignored);
    };
    const std::unique_ptr<const std::filesystem::path, decltype(remove)> removed(&data, remove);
    const GuestDescription description = describe(GuestKind::postgres);
    const auto server = start_on_host({"sh", "-c", kStartPostgres, "sh", data.string()}, description.ready);
    const auto words = image_.guest(description.arguments, "512M", kGuestAddress, description.ready);
    const auto prepare = [&](const char* address) {
        static_cast<void>(site_.run(
            client_.command + Words{"pgbench", "-h", address, "-U", "postgres", "-i", "-q", "-s", "5", "postgres"},
            kLongest));
    };
    prepare(kHostAddress);
    const std::array<std::pair<const char*, const char*>, 2> modes = {{{"-S", "read-only"}, {"-N", "simple update"}}};
    std::map<std::string, std::vector<double>> host;
    std::map<std::string, std::vector<double>> guest;
    std::map<std::string, std::vector<double>> guarded;
    std::vector<std::string> said;
    for (unsigned i = 0; i < options_.repeats; ++i) {
        const auto alone = site_.start_alone(words, {"--json"});
        prepare(kGuestAddress);
        for (const auto& [mode, name] : modes) {
            host[name].push_back(pgbench_rate(kHostAddress, mode));
            guest[name].push_back(pgbench_rate(kGuestAddress, mode));
        }
        said = site_.end(*alone);
        const auto pair = site_.start_protected(words);
        prepare(kGuestAddress);
        for (const auto& [mode, name] : modes) {
            guarded[name].push_back(pgbench_rate(kGuestAddress, mode));
        }
    }
    for (const auto& mode : modes) {
        const std::string name = mode.second;
        rows_.add({.what = fmt::format("pgbench, {}", name),
                   .unit = "transactions/s",
                   .measured = {"protected", guarded[name]},
                   .baseline = report::Samples{"unprotected", guest[name]},
                   .detail = "8 clients, data in memory"});
        rows_.add({.what = fmt::format("pgbench, {}", name),
                   .unit = "transactions/s",
                   .measured = {"guest", guest[name]},
                   .baseline = report::Samples{"host", host[name]},
                   .target = report::ratio_at_least(0.6),
                   .detail = "8 clients, data in memory"});
    }
    add_exits("pgbench, both", said, options_.seconds * (guest["read-only"].back() + guest["simple update"].back()));
    site_.stage().dismiss(server);
}

void GuestBench::kernel() {
    if (options_.uncounted_kernel.empty()) {
        rows_.add_missing(
            "redis SET, counted kernel to uncounted",
            "needs one: guest/linux/build.sh --uncounted --abi guest/abi/paravirtual.h --out FOLDER, then "
            "--uncounted-kernel FOLDER/vmlinux");
        return;
    }
    const GuestDescription description = describe(GuestKind::redis);
    const auto words = image_.guest(description.arguments, description.memory, kGuestAddress, description.ready);
    std::vector<double> counted;
    std::vector<double> uncounted;
    for (unsigned i = 0; i < options_.repeats; ++i) {
        {
            const auto guest = site_.start_alone(words);
            counted.push_back(redis_rate(kGuestAddress, 1));
        }
        const auto guest = site_.start_alone(words, {"--kernel", options_.uncounted_kernel.string()});
        uncounted.push_back(redis_rate(kGuestAddress, 1));
    }
    rows_.add({.what = "redis SET, the counted kernel",
               .unit = "requests/s",
               .measured = {"counted", counted},
               .baseline = report::Samples{"uncounted", uncounted},
               .target = report::ratio_at_least(0.93)});
}

}  // namespace

const std::vector<std::string>& guest_bench_rows() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> result;
        std::ranges::transform(kParts, std::back_inserter(result),
                               [](const Part& row) { return std::string(row.name); });
        return result;
    }();
    return names;
}

report::Section measure_guest(const GuestBenchOptions& options) {
    const bool wants_lan = std::ranges::any_of(kParts, [&](const Part& row) {
        return row.needs_lan &&
               (options.only.empty() || std::ranges::find(options.only, row.name) != options.only.end());
    });
    const BenchImage image(options.image, {"redis-server", "postgresql"});
    const std::string no_lan = wants_lan ? Lan::missing() : "not wanted";
    std::optional<Lan> lan;
    if (no_lan.empty()) {
        lan.emplace();  // before anything is started
    }
    Site site(std::filesystem::read_symlink("/proc/self/exe"));
    report::Section section;
    section.name = "guest";
    section.title = "Linux as a guest";
    section.text =
        "The same programs on the host and in a guest, unprotected and protected, by turns; client and servers are "
        "stations of a LAN in network namespaces.";
    section.command = fmt::format("understudy bench guest --repeats {} --requests {} --seconds {}{}", options.repeats,
                                  options.requests, options.seconds, only_words(options.only));
    section.rows = GuestBench(site, options, image, no_lan).measure();
    section.plots.emplace_back(bars_of(section.rows, "Guest beside host", "requests/s", "guest"));
    section.plots.emplace_back(bars_of(section.rows, "Protected beside unprotected", "requests/s", "protected"));
    return section;
}

}  // namespace understudy::tools
