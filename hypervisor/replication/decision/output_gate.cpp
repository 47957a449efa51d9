#include "hypervisor/replication/decision/output_gate.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <utility>

namespace understudy::replication {

namespace {

void require_later(StopNumber stop, StopNumber last) {
    if (stop <= last) {
        std::fprintf(stderr, "understudy: outputs of stop %llu after those of stop %llu\n",
                     static_cast<unsigned long long>(stop.value), static_cast<unsigned long long>(last.value));
        std::abort();
    }
}

}  // namespace

void HeldOutputs::push(StopNumber stop, std::vector<Output> outputs) {
    if (outputs.empty()) {
        return;
    }
    for (const Output& output : outputs) {
        bytes_ += output.bytes.size();
    }
    entries_.push_back({stop, std::move(outputs)});
}

std::vector<Output> HeldOutputs::pop(StopNumber up_to) {
    std::vector<Output> result;
    while (!entries_.empty() && entries_.front().stop <= up_to) {
        auto& outputs = entries_.front().outputs;
        for (const Output& output : outputs) {
            bytes_ -= output.bytes.size();
        }
        std::ranges::move(outputs, std::back_inserter(result));
        entries_.pop_front();
    }
    return result;
}

std::vector<Output> OutputGate::take(StopNumber stop, std::vector<Output> outputs) {
    require_later(stop, taken_);
    taken_ = stop;
    if (!open_ && stop > acknowledged_) {
        held_.push(stop, std::move(outputs));
        return {};
    }
    released_ = stop;  // nothing is held: an acknowledgement of this stop covers all before it
    return outputs;
}

std::vector<Output> OutputGate::acknowledge(StopNumber up_to) {
    acknowledged_ = std::max(acknowledged_, up_to);
    if (open_) {
        return {};
    }
    released_ = std::max(released_, std::min(acknowledged_, taken_));
    return held_.pop(acknowledged_);
}

StopNumber OutputGate::close() {
    open_ = false;
    // What an earlier backup acknowledged is below taken_: it cannot release anything from here on.
    return released_;
}

std::vector<Output> OutputGate::open() {
    open_ = true;
    released_ = taken_;
    return held_.pop(taken_);
}

void OutputRetention::keep(StopNumber stop, std::vector<Output> outputs) {
    require_later(stop, replayed_);
    replayed_ = stop;
    if (stop > released_) {
        kept_.push(stop, std::move(outputs));
    }
}

void OutputRetention::released(StopNumber up_to) {
    released_ = std::max(released_, up_to);
    static_cast<void>(kept_.pop(released_));
}

std::vector<Output> OutputRetention::go_live() {
    return kept_.pop(replayed_);
}

}  // namespace understudy::replication
