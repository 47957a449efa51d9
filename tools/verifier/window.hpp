// What the verifying client has seen since some moment: counts, the longest wait, and how long answers took.
// No socket, no thread: whoever has a window keeps it to one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tools/verifier/judgement.hpp"
#include "tools/verifier/latency_histogram.hpp"
#include "tools/verifier/verifier.hpp"

namespace understudy::tools {

class VerifierWindow {
  public:
    using Time = std::chrono::steady_clock::time_point;

    // A request sent at `sent_at` was answered `now`; its connection has waited since `waiting_since`, which is earlier
    // when the request before it was lost with its connection. Of both, the part before the window does not count.
    void note_answer(const Judgement& judgement, Time sent_at, Time waiting_since, Time now);
    void note_contradiction(const std::string& finding);
    void note_drop(const std::string& why);

    // `waiting_since`: of every connection that waits for an answer.
    [[nodiscard]] VerifierFigures figures(Time now, std::span<const Time> waiting_since) const;
    // When the first answers came, in order; kKeptAnswers at the most.
    static constexpr std::size_t kKeptAnswers = 20'000;
    [[nodiscard]] const std::vector<Time>& answer_times() const { return answer_times_; }

  private:
    void note_finding(const std::string& finding);

    Time begin_ = std::chrono::steady_clock::now();
    VerifierFigures figures_;
    LatencyHistogram latency_;
    std::vector<Time> answer_times_;
};

}  // namespace understudy::tools
