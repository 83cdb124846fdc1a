import { useForm } from "react-hook-form";
const form = useForm({ onSuccess: (data) => console.log(data.id) });
form.trigger("name", { queue: { name: "fields", concurrencyLimit: 1 } });
