#include "tools/output/trace_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "common/error.hpp"

namespace understudy::tools {
namespace {

std::string in_microseconds(TraceWriter::Time time) {
    return fmt::format("{:.3f}", std::chrono::duration<double, std::micro>(time).count());
}

std::string object_of(const TraceWriter::Fields& fields) {
    std::string text;
    for (const auto& [name, value] : fields) {
        text += fmt::format("{}{}:{}", text.empty() ? "" : ",", json_string(name), to_json(value));
    }
    return "{" + text + "}";
}

}  // namespace

TraceWriter::TraceWriter(const std::filesystem::path& file) : name_(file), file_(file) {
    if (!file_) {
        throw Error::from_errno("cannot write the timeline " + file.string(), errno);
    }
    file_ << "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
}

void TraceWriter::span(const std::string& track, const std::string& name, Time begin, Time end, const Fields& fields) {
    const auto number = number_of(track);
    put(fmt::format(R"({{"ph":"X","pid":1,"tid":{},"name":{},"ts":{},"dur":{},"args":{}}})", number, json_string(name),
                    in_microseconds(begin), in_microseconds(std::max(end - begin, Time(0))), object_of(fields)));
}

void TraceWriter::instant(const std::string& track, const std::string& name, Time at, const Fields& fields) {
    const auto number = number_of(track);
    put(fmt::format(R"({{"ph":"i","s":"t","pid":1,"tid":{},"name":{},"ts":{},"args":{}}})", number, json_string(name),
                    in_microseconds(at), object_of(fields)));
}

void TraceWriter::counter(const std::string& name, Time at, double value) {
    put(fmt::format(R"({{"ph":"C","pid":1,"name":{},"ts":{},"args":{{"value":{}}}}})", json_string(name),
                    in_microseconds(at), to_json(value)));
}

void TraceWriter::close() {
    file_ << "\n]}\n";
    file_.close();
    if (!file_) {
        throw Error("cannot write the timeline " + name_.string());
    }
}

std::uint64_t TraceWriter::number_of(const std::string& track) {
    const auto [found, is_new] = tracks_.emplace(track, tracks_.size() + 1);
    if (is_new) {
        put(fmt::format(R"({{"ph":"M","pid":1,"tid":{0},"name":"thread_name","args":{{"name":{1}}}}})", found->second,
                        json_string(track)));
        put(fmt::format(R"({{"ph":"M","pid":1,"tid":{0},"name":"thread_sort_index","args":{{"sort_index":{0}}}}})",
                        found->second));
    }
    return found->second;
}

void TraceWriter::put(const std::string& event) {
    file_ << (first_ ? "\n" : ",\n") << event;
    first_ = false;
}

}  // namespace understudy::tools
