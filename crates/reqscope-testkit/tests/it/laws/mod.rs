mod adapters;
mod broken;
mod faults;
mod right;
