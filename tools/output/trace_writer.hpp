// Timelines as ui.perfetto.dev and chrome://tracing read them: the Trace Event Format, one JSON object in a file.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tools/output/json.hpp"

namespace understudy::tools {

// Writes as it goes. Times are since any moment, the same for all; tracks appear in the order of their first use.
class TraceWriter {
  public:
    using Time = std::chrono::nanoseconds;
    using Fields = std::vector<std::pair<std::string, JsonValue>>;

    // Throws understudy::Error where the file cannot be written.
    explicit TraceWriter(const std::filesystem::path& file);

    // Something that took from `begin` to `end`.
    void span(const std::string& track, const std::string& name, Time begin, Time end, const Fields& fields = {});
    void instant(const std::string& track, const std::string& name, Time at, const Fields& fields = {});
    // From now on it is so many.
    void counter(const std::string& name, Time at, double value);

    // The file is whole only then. Throws understudy::Error.
    void close();

  private:
    [[nodiscard]] std::uint64_t number_of(const std::string& track);
    void put(const std::string& event);

    std::filesystem::path name_;
    std::ofstream file_;
    std::map<std::string, std::uint64_t> tracks_;
    bool first_ = true;
};

}  // namespace understudy::tools
