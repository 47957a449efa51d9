// `understudy log`: print, filter and summarize a recorded log, without replaying it.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "common/error.hpp"
#include "common/execution.hpp"
#include "logging_channel/log_file.hpp"
#include "tools/command/commands.hpp"
#include "tools/output/trace_writer.hpp"

namespace understudy::tools {
namespace {

using channel::LogEnd;
using channel::LogReader;

template <typename Enum>
struct Name {
    Enum value;
    std::string_view text;
};
constexpr std::array kKinds = {
    Name<StopKind>{StopKind::idle, "idle"},       Name<StopKind>{StopKind::budget, "budget"},
    Name<StopKind>{StopKind::request, "request"}, Name<StopKind>{StopKind::exit, "exit"},
    Name<StopKind>{StopKind::fault, "fault"},     Name<StopKind>{StopKind::interrupt, "interrupt"},
};
static_assert(kKinds.size() == static_cast<std::size_t>(kLastStopKind), "a kind of stop has no name here");
constexpr std::array kRequests = {
    Name<RequestKind>{RequestKind::rdtsc, "rdtsc"},     Name<RequestKind>{RequestKind::rdtscp, "rdtscp"},
    Name<RequestKind>{RequestKind::rdrand, "rdrand"},   Name<RequestKind>{RequestKind::rdseed, "rdseed"},
    Name<RequestKind>{RequestKind::cpuid, "cpuid"},     Name<RequestKind>{RequestKind::xgetbv, "xgetbv"},
    Name<RequestKind>{RequestKind::rdpid, "rdpid"},     Name<RequestKind>{RequestKind::restart, "restart"},
    Name<RequestKind>{RequestKind::entropy, "entropy"}, Name<RequestKind>{RequestKind::syscall_site, "syscall_site"},
    Name<RequestKind>{RequestKind::flush, "flush"},     Name<RequestKind>{RequestKind::scan_code, "scan_code"},
    Name<RequestKind>{RequestKind::device, "device"},
};
static_assert(kRequests.size() == static_cast<std::size_t>(kLastRequestKind), "a request has no name here");

template <typename Enum, std::size_t kSize>
std::string_view name_of(const std::array<Name<Enum>, kSize>& names, Enum value) {
    const auto* const found = std::ranges::find(names, value, &Name<Enum>::value);
    return found == names.end() ? std::string_view("?") : found->text;
}

// "request rdtsc", "idle": what a stop is, and the word that --kind takes for it.
std::string_view kind_of(const Stop& stop) {
    return stop.kind == StopKind::request ? name_of(kRequests, stop.request) : name_of(kKinds, stop.kind);
}

struct Options {
    std::string file;
    std::string kind;
    std::uint64_t from = 0;
    std::uint64_t to = UINT64_MAX;
    bool with_input = false;
    std::string timeline;
    bool summary = false;
    bool json = false;

    [[nodiscard]] bool wants(const Record& record) const {
        const Stop& stop = record.stop;
        return stop.number.value >= from && stop.number.value <= to &&
               (kind.empty() || kind == kind_of(stop) || kind == name_of(kKinds, stop.kind)) &&
               (!with_input || !record.input.frames.empty() || !record.input.answer.empty());
    }
};

std::uint64_t frame_bytes(const Input& input) {
    std::uint64_t bytes = 0;
    for (const Frame& frame : input.frames) {
        bytes += frame.size();
    }
    return bytes;
}

// What of an interval was copied, because it could not be run again.
struct CopiedPages {
    std::uint64_t pages = 0;
    std::uint64_t bytes = 0;  // encoded
};
CopiedPages copied_pages(const Record& record) {
    CopiedPages copied;
    if (record.delta) {
        for (const EncodedPages& pages : record.delta->pages) {
            copied.pages += pages.numbers.size();
            copied.bytes += pages.content.size();
        }
    }
    return copied;
}

// What the records that were asked for come to.
struct Summary {
    std::uint64_t records = 0;
    std::map<std::string_view, std::uint64_t> by_kind;
    std::uint64_t frames = 0;
    std::uint64_t frame_bytes = 0;
    std::uint64_t answer_bytes = 0;
    std::uint64_t typed_bytes = 0;
    std::uint64_t memory_digests = 0;
    CopiedPages copied;
    std::optional<Record> first;
    std::optional<Record> last;

    void add(const Record& record) {
        ++records;
        ++by_kind[kind_of(record.stop)];
        frames += record.input.frames.size();
        frame_bytes += tools::frame_bytes(record.input);
        answer_bytes += record.input.answer.size();
        typed_bytes += record.input.typed.size();
        memory_digests += record.digests.memory ? 1 : 0;
        const CopiedPages of_record = copied_pages(record);
        copied.pages += of_record.pages;
        copied.bytes += of_record.bytes;
        if (!first) {
            first = record;
        }
        last = record;
    }
    [[nodiscard]] double seconds() const {
        return first ? std::chrono::duration<double>(last->input.clock - first->input.clock).count() : 0;
    }
    [[nodiscard]] std::uint64_t counted() const { return first ? last->stop.count.value - first->stop.count.value : 0; }
};

std::string record_text(const Record& record) {
    const Stop& stop = record.stop;
    std::string text = fmt::format("{:>10}  {:<12}  count {:<16}  clock {:>14.6f} s", stop.number.value, kind_of(stop),
                                   stop.count.value, std::chrono::duration<double>(record.input.clock).count());
    if (stop.kind == StopKind::exit) {
        text += fmt::format("  status {}", stop.argument);
    } else if (stop.kind == StopKind::fault) {
        text += fmt::format("  vector {}", stop.argument);
    } else if (stop.kind == StopKind::idle && stop.argument != UINT64_MAX) {
        text += fmt::format("  until {:.6f} s", static_cast<double>(stop.argument) / 1e9);
    }
    if (!record.input.frames.empty()) {
        text += fmt::format("  {} frames, {} bytes", record.input.frames.size(), frame_bytes(record.input));
    }
    if (!record.input.answer.empty()) {
        text += fmt::format("  answer of {} bytes", record.input.answer.size());
    }
    if (!record.input.typed.empty()) {
        text += fmt::format("  {} bytes typed", record.input.typed.size());
    }
    if (record.delta) {
        const CopiedPages copied = copied_pages(record);
        text += fmt::format("  copied {} pages in {} bytes", copied.pages, copied.bytes);
    }
    if (record.digests.memory) {
        text += fmt::format("  memory {:016x}", record.digests.memory->value);
    }
    return text;
}

std::string record_json(const Record& record) {
    const Stop& stop = record.stop;
    const CopiedPages copied = copied_pages(record);
    return fmt::format(
        R"({{"stop":{},"kind":"{}","request":"{}","count":{},"argument":{},"clock_ns":{},"frames":{},"frame_bytes":{},)"
        R"("answer_bytes":{},"typed_bytes":{},"copied_pages":{},"copied_bytes":{},"registers":"{:016x}","outputs":{},)"
        R"("memory":{}}})",
        stop.number.value, name_of(kKinds, stop.kind),
        stop.kind == StopKind::request ? name_of(kRequests, stop.request) : "", stop.count.value, stop.argument,
        record.input.clock.count(), record.input.frames.size(), frame_bytes(record.input), record.input.answer.size(),
        record.input.typed.size(), copied.pages, copied.bytes, record.digests.registers,
        record.digests.outputs ? fmt::format("\"{:016x}\"", *record.digests.outputs) : "null",
        record.digests.memory ? fmt::format("\"{:016x}\"", record.digests.memory->value) : "null");
}

std::string header_text(const channel::LogHeader& header) {
    const auto start = std::chrono::duration_cast<std::chrono::seconds>(header.start_time).count();
    return fmt::format(
        "VM            {}\nprogram       {}\nmemory        {} MiB\nengine        {}\n"
        "recorded      {:%Y-%m-%d %H:%M:%S} UTC{}{}\nstarts at     stop {}\n",
        header.vm, header.command_line, header.guest.memory.value >> 20U, header.engine,
        fmt::gmtime(static_cast<std::time_t>(start)), header.recorder.empty() ? "" : " by ", header.recorder,
        header.base.stop.value);
}

std::string summary_text(const Summary& summary, std::uint64_t log_bytes) {
    std::string text = fmt::format("\nrecords       {} in {:.3f} s of guest time, {} counted instructions\n",
                                   summary.records, summary.seconds(), summary.counted());
    for (const auto& [kind, count] : summary.by_kind) {
        text += fmt::format("  {:<12}  {}\n", kind, count);
    }
    return text + fmt::format(
                      "input         {} frames of {} bytes, answers of {} bytes, {} bytes typed\ncopied        {} "
                      "pages in {} bytes\n"
                      "memory        {} digests\nlog           {} bytes of records\n",
                      summary.frames, summary.frame_bytes, summary.answer_bytes, summary.typed_bytes,
                      summary.copied.pages, summary.copied.bytes, summary.memory_digests, log_bytes);
}

std::string summary_json(const Summary& summary, std::uint64_t log_bytes, const LogEnd& end) {
    std::string kinds;
    for (const auto& [kind, count] : summary.by_kind) {
        kinds += fmt::format(R"({}"{}":{})", kinds.empty() ? "" : ",", kind, count);
    }
    return fmt::format(
        R"({{"summary":{{"records":{},"kinds":{{{}}},"guest_seconds":{:.6f},"counted":{},"frames":{},"frame_bytes":{},)"
        R"("answer_bytes":{},"typed_bytes":{},"copied_pages":{},"copied_bytes":{},"memory_digests":{},"log_bytes":{},)"
        R"("complete":{}}}}})",
        summary.records, kinds, summary.seconds(), summary.counted(), summary.frames, summary.frame_bytes,
        summary.answer_bytes, summary.typed_bytes, summary.copied.pages, summary.copied.bytes, summary.memory_digests,
        log_bytes, end.how == LogEnd::How::finished);
}

void check_kind(const std::string& kind) {
    const auto is = [&](const auto& name) { return name.text == kind; };
    if (!kind.empty() && std::ranges::none_of(kKinds, is) && std::ranges::none_of(kRequests, is)) {
        throw Error::format(
            "there are no stops of kind '{}': try idle, budget, request, interrupt, exit, fault or a request's name",
            kind);
    }
}

// The guest's time from stop to stop, with what it was given at each.
class LogTimeline {
  public:
    explicit LogTimeline(const std::string& file) : trace_(file) {}

    void add(const Record& record) {
        const Stop& stop = record.stop;
        const std::uint64_t in_frames = frame_bytes(record.input);
        const TraceWriter::Time now = record.input.clock;
        trace_.span("guest", fmt::format("until {}", kind_of(stop)), last_.value_or(now), now,
                    {{"stop", stop.number.value},
                     {"count", stop.count.value},
                     {"argument", stop.argument},
                     {"frames", std::uint64_t{record.input.frames.size()}},
                     {"frame_bytes", in_frames},
                     {"answer_bytes", std::uint64_t{record.input.answer.size()}},
                     {"copied_pages", copied_pages(record).pages}});
        if (in_frames > 0) {
            trace_.instant("frames in", fmt::format("{} bytes", in_frames), now,
                           {{"frames", std::uint64_t{record.input.frames.size()}}});
        }
        if (!record.input.typed.empty()) {
            trace_.instant("console in", fmt::format("{} bytes", record.input.typed.size()), now);
        }
        if (record.delta) {
            trace_.instant("copied", fmt::format("{} pages", copied_pages(record).pages), now);
        }
        input_ += in_frames;
        trace_.counter("bytes of frames", now, static_cast<double>(input_));
        last_ = now;
    }
    void close() { trace_.close(); }

  private:
    TraceWriter trace_;
    std::optional<TraceWriter::Time> last_;
    std::uint64_t input_ = 0;
};

int run(const Options& options) {
    check_kind(options.kind);
    std::optional<LogTimeline> timeline;
    if (!options.timeline.empty()) {
        timeline.emplace(options.timeline);
    }
    LogReader log(options.file);
    if (!options.json) {
        fmt::print("{}", header_text(log.header()));
    }
    log.skip_state();
    const std::uint64_t records_begin = log.offset();
    if (!options.summary && !options.json) {
        fmt::print("\n");
    }
    Summary summary;
    auto next = log.next();
    for (; std::holds_alternative<Record>(next); next = log.next()) {
        const Record& record = std::get<Record>(next);
        if (!options.wants(record)) {
            continue;
        }
        summary.add(record);
        if (timeline) {
            timeline->add(record);
        }
        if (!options.summary) {
            fmt::print("{}\n", options.json ? record_json(record) : record_text(record));
        }
    }
    const LogEnd& end = std::get<LogEnd>(next);
    if (timeline) {
        timeline->close();
    }
    const std::uint64_t log_bytes = end.offset - std::min(records_begin, end.offset);
    fmt::print("{}{}", options.json ? summary_json(summary, log_bytes, end) : summary_text(summary, log_bytes),
               options.json ? "\n" : "");
    if (end.how != LogEnd::How::finished) {
        throw Error::format("{}: {}", options.file, end.describe());
    }
    return 0;
}

}  // namespace

Command add_log(CLI::App& root) {
    CLI::App* app = root.add_subcommand("log", "Print, filter and summarize a recorded log");
    const auto options = std::make_shared<Options>();
    app->add_option("log", options->file, "The file that `understudy run --record` wrote")
        ->required()
        ->type_name("FILE");
    app->add_option("--kind", options->kind, "Only stops of this kind: idle, budget, request, exit, fault, rdtsc, ...");
    app->add_option("--from", options->from, "Only from this stop on")->type_name("STOP");
    app->add_option("--to", options->to, "Only up to this stop")->type_name("STOP");
    app->add_flag("--with-input", options->with_input, "Only stops at which the guest was given frames or an answer");
    app->add_flag("--summary", options->summary, "Leave the records out");
    app->add_option("--timeline", options->timeline, "Write the records there as well, for ui.perfetto.dev")
        ->type_name("FILE");
    app->add_flag("--json", options->json, "One JSON object per record, then one with the summary");
    app->footer(
        "Exit status 0 only when the log is whole; of another the whole records are printed and the break is named.\n\n"
        "Example:\n  understudy log kv.log --kind request --from 1000 --to 2000");
    return {app, [options] { return run(*options); }};
}

}  // namespace understudy::tools
