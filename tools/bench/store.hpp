// What is compared: a database that survives the death of the process that serves, in whatever way.
#pragma once

namespace understudy::tools {

class Store {
  public:
    Store() = default;
    virtual ~Store() = default;
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;

    // Each of the following throws understudy::Error when it does not come about.

    // SIGKILL to the process that serves.
    virtual void kill() = 0;
    // Returns when another one serves.
    virtual void await_takeover() = 0;
    // What was killed begins anew, as the one that is to take over next.
    virtual void restart() = 0;
    // Returns when it could. What another took over without a fault, because the machine is busy, goes on from there.
    virtual void await_redundancy() = 0;

    // Such failovers, as far as await_redundancy() has seen them.
    [[nodiscard]] unsigned unplanned_failovers() const { return unplanned_; }

  protected:
    void note_unplanned() { ++unplanned_; }

  private:
    unsigned unplanned_ = 0;
};

}  // namespace understudy::tools
