#include "tools/verifier/window.hpp"

#include <algorithm>

namespace understudy::tools {

void VerifierWindow::note_answer(const Judgement& judgement, Time sent_at, Time waiting_since, Time now) {
    ++figures_.answers;
    if (answer_times_.size() < kKeptAnswers) {
        answer_times_.push_back(now);
    }
    figures_.acknowledged_writes += judgement.acknowledged_write ? 1 : 0;
    figures_.lost_acknowledged_writes += judgement.lost_writes;
    figures_.contradictions += judgement.contradiction ? 1 : 0;
    figures_.longest_gap =
        std::max<std::chrono::nanoseconds>(figures_.longest_gap, now - std::max(waiting_since, begin_));
    latency_.add(now - std::max(sent_at, begin_));
    if (!judgement.finding.empty()) {
        note_finding(judgement.finding);
    }
}

void VerifierWindow::note_contradiction(const std::string& finding) {
    ++figures_.contradictions;
    note_finding(finding);
}

void VerifierWindow::note_drop(const std::string& why) {
    ++figures_.dropped_connections;
    note_finding("a connection was dropped: " + why);
}

VerifierFigures VerifierWindow::figures(Time now, std::span<const Time> waiting_since) const {
    VerifierFigures figures = figures_;
    figures.duration = now - begin_;
    figures.unanswered = waiting_since.size();
    for (const Time since : waiting_since) {
        figures.longest_gap = std::max<std::chrono::nanoseconds>(figures.longest_gap, now - std::max(since, begin_));
    }
    figures.latency_p50 = latency_.quantile(0.5);
    figures.latency_p99 = latency_.quantile(0.99);
    figures.latency_p999 = latency_.quantile(0.999);
    return figures;
}

void VerifierWindow::note_finding(const std::string& finding) {
    if (figures_.first_finding.empty()) {
        figures_.first_finding = finding;
    }
}

}  // namespace understudy::tools
