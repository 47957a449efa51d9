#include "tools/bench/checkpoints.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <compare>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "tools/bench/lines_of.hpp"
#include "tools/bench/linux_image.hpp"
#include "tools/bench/on_lan.hpp"
#include "tools/bench/request_load.hpp"
#include "tools/bench/rows.hpp"
#include "tools/bench/site.hpp"
#include "tools/demo/guest.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::tools {
namespace {

constexpr const char* kGuestAddress = "10.79.0.4";

// Programs that compute, before the guest's server starts; a guest that is to be protected is so by then. Where the first
// write to a page after each checkpoint is slow, one that writes all over its memory hardly gets on: it builds as many
// hashes as fit into its time, and one at least.
constexpr const char* kWorks =
    "sleep 5; took() { a=$(date +%s%N); eval \"$2\"; b=$(date +%s%N); echo took $1 $((b-a)); }; echo begin; "
    "took loop 'i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done'; "
    "took hashes 'perl -e \"my \\$end = time + 3; my \\$n = 0; "
    "do { my %h; \\$h{\\$_} = \\$_ for 1..50000; ++\\$n } while (\\$n < 15 && time < \\$end); "
    "print qq(built \\$n\\n)\"'; exec ";

struct Asked {
    std::size_t clients = 0;
    double rate = 0;  // offered; 0: each asks when it is answered

    auto operator<=>(const Asked&) const = default;
    [[nodiscard]] std::string name() const {
        return fmt::format("redis, {} clients{}", clients,
                           rate > 0 ? fmt::format(", {:.0f} requests/s offered", rate) : "");
    }
};

// A value for each repetition.
struct Answers {
    std::vector<double> rates;
    std::vector<double> p50_ms;
    std::vector<double> p99_ms;
    std::vector<double> sent_mbits;  // to the other host, meanwhile
    std::vector<double> pages;       // of a checkpoint
};

// One way to run the guest.
struct Variant {
    std::string name;
    enum class Kind { alone, record_replay, checkpoints } kind = Kind::alone;
    unsigned interval_ms = 0;  // of checkpoints
    std::vector<double> loop_s{};
    std::vector<double> hash_ms{};
    std::map<Asked, Answers> answers{};
};

double milliseconds(const LatencyHistogram& latency, double q) {
    return std::chrono::duration<double, std::milli>(latency.quantile(q)).count();
}

class CheckpointsBench {
  public:
    CheckpointsBench(Site& site, const CheckpointsBenchOptions& options, const BenchImage& image)
        : site_(site), options_(options), image_(site, image.file()) {
        for (const unsigned interval : options_.intervals_ms) {
            others_.push_back({.name = fmt::format("checkpoints every {} ms", interval),
                               .kind = Variant::Kind::checkpoints,
                               .interval_ms = interval});
        }
        for (const std::size_t clients : options_.clients) {
            asked_.push_back({clients, 0});
        }
        // None of them has more than one request on its way, and a third of them is enough for the longest interval.
        const double longest_s = std::ranges::max(options_.intervals_ms) / 1e3;
        asked_.push_back(
            {std::max<std::size_t>(50, static_cast<std::size_t>(3 * options_.rate * longest_s)), options_.rate});
    }

    void measure(report::Section& section) {
        for (unsigned i = 0; i < options_.repeats; ++i) {
            site_.stage().timeline().say("bench", fmt::format("repetition {} of {}", i + 1, options_.repeats));
            measure_guest(guarded_);
            for (Variant& variant : others_) {
                measure_guest(variant);
            }
        }
        for (Variant& other : others_) {
            add_rows(other);
        }
        section.rows = rows_.take();
    }

  private:
    std::unique_ptr<Site::Guest> start(const Variant& variant) {
        const GuestDescription redis = describe(GuestKind::redis);
        const auto words = image_.guest({"sh", "-c", fmt::format("{}{}", kWorks, fmt::join(redis.arguments, " "))},
                                        redis.memory, kGuestAddress, redis.ready);
        switch (variant.kind) {
            case Variant::Kind::alone:
                return site_.start_alone(words);
            case Variant::Kind::record_replay:
                return site_.start_protected(words);
            case Variant::Kind::checkpoints:
                break;
        }
        return site_.start_checkpointed(words, std::chrono::milliseconds(variant.interval_ms));
    }

    void measure_guest(Variant& variant) {
        const auto guest = start(variant);
        const auto& lines = guest->console();
        const auto begin = std::ranges::find_if(lines, [](const auto& line) { return line.starts_with("begin"); });
        guest->expect_settled_before(static_cast<std::size_t>(begin - lines.begin()));
        variant.loop_s.push_back(figure_of(lines, "took loop ([0-9]+)") / 1e9);
        variant.hash_ms.push_back(figure_of(lines, "took hashes ([0-9]+)") / 1e6 / figure_of(lines, "built ([0-9]+)"));
        for (const Asked& asked : asked_) {
            RequestLoad load{.host = kGuestAddress, .connections = asked.clients, .rate = asked.rate};
            load.duration = std::chrono::seconds(options_.seconds);
            const auto from = Event::now();
            const RequestFigures figures = ask(site_.stage(), load);
            take(variant, asked, figures, *guest, from);
        }
        if (guest->ended() || (variant.kind == Variant::Kind::record_replay && !guest->is_protected())) {
            throw Error("the guest lost its backup, or ended, while it was measured");
        }
    }

    void take(Variant& variant, const Asked& asked, const RequestFigures& figures, const Site::Guest& guest,
              Event::Time from) {
        Answers& answers = variant.answers[asked];
        answers.rates.push_back(figures.rate());
        answers.p50_ms.push_back(milliseconds(figures.latency, 0.5));
        answers.p99_ms.push_back(milliseconds(figures.latency, 0.99));
        if (const auto kept = guest.checkpointed(from, Event::now())) {
            answers.sent_mbits.push_back(kept->bytes * 8 / 1e6 / kept->seconds);
            answers.pages.push_back(kept->pages / std::max(kept->checkpoints, 1.0));
        } else if (const auto logged = guest.logged(from, Event::now())) {
            answers.sent_mbits.push_back(logged->bytes * 8 / 1e6 / logged->seconds);
        }
        site_.stage().timeline().say(
            "bench", fmt::format("{}, {}: {:.0f}/s, p50 {:.2f} ms, p99 {:.2f} ms", variant.name, asked.name(),
                                 answers.rates.back(), answers.p50_ms.back(), answers.p99_ms.back()));
    }

    void compare(const std::string& what, const char* unit, const std::vector<double>& guarded, const Variant& other,
                 const std::vector<double>& values, std::string detail = {}) {
        const std::string name = fmt::format("{}, beside {}", what, other.name);
        if (values.empty() || guarded.empty()) {
            rows_.add_missing(name, "a measurement shorter than two seconds has no report");
            return;
        }
        rows_.add({.what = name,
                   .unit = unit,
                   .measured = {guarded_.name, guarded},
                   .baseline = report::Samples{other.name, values},
                   .detail = std::move(detail)});
    }

    void add_rows(Variant& other) {
        compare("a loop of the shell", "s", guarded_.loop_s, other, other.loop_s);
        compare("a hash of 50,000 entries in Perl", "ms", guarded_.hash_ms, other, other.hash_ms);
        for (const Asked& asked : asked_) {
            const Answers& guarded = guarded_.answers[asked];
            const Answers& answers = other.answers[asked];
            const std::string name = asked.name();
            if (asked.rate == 0) {
                compare(name, "requests/s", guarded.rates, other, answers.rates, "each asks when it is answered");
            }
            compare(name + ", p50", "ms", guarded.p50_ms, other, answers.p50_ms);
            compare(name + ", p99", "ms", guarded.p99_ms, other, answers.p99_ms);
            if (other.kind == Variant::Kind::checkpoints) {
                compare(name + ", sent to the other host", "Mbit/s", guarded.sent_mbits, other, answers.sent_mbits,
                        answers.pages.empty()
                            ? ""
                            : fmt::format("{:.0f} pages in a checkpoint", report::median(answers.pages)));
            }
        }
    }

    Site& site_;
    const CheckpointsBenchOptions& options_;
    LinuxImage image_;
    std::vector<Asked> asked_;
    Variant guarded_{.name = "protected", .kind = Variant::Kind::record_replay};
    std::vector<Variant> others_{{.name = "unprotected"}};
    Rows rows_{site_.stage().timeline()};
};

}  // namespace

report::Section measure_checkpoints(const CheckpointsBenchOptions& options) {
    report::Section section;
    section.name = "checkpoints";
    section.title = "Against checkpointing";
    section.text =
        "The same guest by turns protected by record and replay, and checkpointed as Remus does it: every so often it "
        "stands still while the pages that it wrote are copied, and what it said leaves when the copy has arrived at "
        "another process. Pages go as the difference to what they held before, compressed. Programs that compute, then "
        "Debian's redis-server on a LAN in network namespaces, first by clients that ask when they are answered, then "
        "at an offered rate. Figures are those of the protected guest beside each other way.";
    section.command = fmt::format(
        "understudy bench checkpoints --repeats {} --intervals {} --clients {} --rate {} "
        "--seconds {}",
        options.repeats, fmt::join(options.intervals_ms, ","), fmt::join(options.clients, ","), options.rate,
        options.seconds);
    on_lan(section, options.image, [&](Site& site, const BenchImage& image) {
        CheckpointsBench(site, options, image).measure(section);
        section.plots.emplace_back(bars_of(section.rows, "Answers", "requests/s", "protected"));
        section.plots.emplace_back(bars_of(section.rows, "Time of a program", "s", "protected"));
        report::BarPlot waits = bars_of(section.rows, "Time of an answer", "ms", "protected");
        waits.is_log = true;
        section.plots.emplace_back(waits);
    });
    return section;
}

}  // namespace understudy::tools
