// What `understudy bench against` puts a store through: load, and the death of who serves, again and again.
#pragma once

#include <functional>
#include <memory>
#include <random>

#include "tools/bench/against.hpp"
#include "tools/bench/against_rows.hpp"
#include "tools/bench/store.hpp"
#include "tools/bench/write_load.hpp"
#include "tools/demo/stage.hpp"

namespace understudy::tools {

struct Entrant {
    Contender figures;
    Store* store = nullptr;  // none: `figures` say why it is missing. Not owned
    WriteTarget target{};
    bool serves_when_redundant = false;  // only then
};

class StoreTrial {
  public:
    // Both outlive the object.
    StoreTrial(Stage& stage, const AgainstBenchOptions& options);

    // Each adds to the entrant's figures; what breaks it off is said there, and then it is left alone. Throws
    // understudy::Error when the user interrupts.
    void measure_load(Entrant& entrant);
    void kill_again_and_again(Entrant& entrant);

  private:
    void attempt(Entrant& entrant, const std::function<void()>& measure);
    [[nodiscard]] std::unique_ptr<WriteLoad> start_load(const Entrant& entrant);
    void await_service(const WriteLoad& load, WriteLoad::Clock::time_point since);
    void measure_until_planned(Entrant& entrant);
    [[nodiscard]] WriteFigures measure_once(const Entrant& entrant);
    void kill_each_time(Entrant& entrant);
    [[nodiscard]] Outage kill_once(const Entrant& entrant, WriteLoad& load);

    Stage& stage_;
    const AgainstBenchOptions& options_;
    std::mt19937_64 random_;
    unsigned loads_ = 0;
};

}  // namespace understudy::tools
