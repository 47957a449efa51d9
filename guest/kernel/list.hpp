// An intrusive doubly-linked list: the hook is a member of the element, so that linking needs no memory and cannot
// fail.
#pragma once

namespace understudy::kernel {

struct ListHook {
    ListHook* next = nullptr;
    ListHook* previous = nullptr;
    void* owner = nullptr;  // the element while it is linked

    [[nodiscard]] bool linked() const { return owner != nullptr; }
    void unlink() {
        if (linked()) {
            previous->next = next;
            next->previous = previous;
            next = previous = nullptr;
            owner = nullptr;
        }
    }
};

template <typename T, ListHook T::*hook>
class List {
  public:
    List() { head_.next = head_.previous = &head_; }
    List(const List&) = delete;
    List& operator=(const List&) = delete;

    [[nodiscard]] bool empty() const { return head_.next == &head_; }
    [[nodiscard]] T* front() const { return empty() ? nullptr : static_cast<T*>(head_.next->owner); }

    // `element` is in no list through this hook.
    void push_back(T& element) {
        ListHook& node = element.*hook;
        node.owner = &element;
        node.previous = head_.previous;
        node.next = &head_;
        head_.previous->next = &node;
        head_.previous = &node;
    }
    T* pop_front() {
        if (empty()) {
            return nullptr;
        }
        ListHook& first = *head_.next;
        T* element = static_cast<T*>(first.owner);
        head_.next = first.next;
        head_.next->previous = &head_;
        first = {};
        return element;
    }
    // The action may unlink the element that it is given.
    template <typename Action>
    void for_each(Action action) {
        for (ListHook* node = head_.next; node != &head_;) {
            ListHook* next = node->next;
            action(*static_cast<T*>(node->owner));
            node = next;
        }
    }

  private:
    ListHook head_;
};

}  // namespace understudy::kernel
