// An engine whose guest is the test.
#pragma once

#include <deque>
#include <functional>
#include <utility>

#include "tests/unit/hypervisor/machine/idle_engine.hpp"

namespace understudy::machine {

// The test plays the guest: each run() takes the next step of its script.
class ScriptedEngine : public IdleEngine {
  public:
    using Script = std::deque<std::function<engine::Exit()>>;

    explicit ScriptedEngine(Script& script) : script_(script) {}
    engine::Exit run() override {
        const auto step = std::move(script_.front());
        script_.pop_front();
        return step();
    }

  private:
    Script& script_;
};

}  // namespace understudy::machine
