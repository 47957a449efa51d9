// What happened, an event a line: when, who, what. Kept in as much detail as somebody wants to read it.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace understudy::replication::simulation {

enum class Detail {
    nothing,
    course,      // faults, roles, the arbiter's decisions
    messages,    // and what the replicas say to each other, to the arbiter and to the world
    everything,  // and what has no news in it, such as heartbeats
};

class Trace {
  public:
    explicit Trace(Detail kept) : kept_(kept) {}

    [[nodiscard]] bool keeps(Detail detail) const { return detail <= kept_; }

    template <typename... Args>
    void note(Detail detail, std::chrono::nanoseconds now, std::string_view who, fmt::format_string<Args...> what,
              Args&&... args) {
        if (keeps(detail)) {
            const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
            lines_.push_back(fmt::format("{:5}.{:03}  {:<8} {}", microseconds / 1000, microseconds % 1000, who,
                                         fmt::format(what, std::forward<Args>(args)...)));
        }
    }

    [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }
    [[nodiscard]] std::vector<std::string> take() { return std::exchange(lines_, {}); }

  private:
    Detail kept_;
    std::vector<std::string> lines_;
};

}  // namespace understudy::replication::simulation
